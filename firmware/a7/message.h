/*
 * The one OP-TEE message of the client (struct optee_msg_arg of optee_msg.h), and the yielding call that hands it over.
 */
#ifndef COSIM_MESSAGE_H
#define COSIM_MESSAGE_H

#include <stdint.h>

#define OPTEE_SMC_RETURN_EBADCMD 5u
#define OPTEE_SMC_RETURN_ENOMEM 6u
#define OPTEE_SMC_RETURN_ENOTAVAIL 7u

#define OPTEE_MSG_CMD_OPEN_SESSION 0u
#define OPTEE_MSG_CMD_INVOKE_COMMAND 1u
#define OPTEE_MSG_CMD_CLOSE_SESSION 2u
#define OPTEE_MSG_CMD_REGISTER_SHM 4u
#define OPTEE_MSG_CMD_UNREGISTER_SHM 5u
#define OPTEE_MSG_ATTR_TYPE_VALUE_INPUT 0x1u
#define OPTEE_MSG_ATTR_TYPE_RMEM_INPUT 0x5u
#define OPTEE_MSG_ATTR_TYPE_RMEM_INOUT 0x7u
#define OPTEE_MSG_ATTR_TYPE_TMEM_INPUT 0x9u
#define OPTEE_MSG_ATTR_TYPE_TMEM_OUTPUT 0xau
#define OPTEE_MSG_ATTR_META 0x100u
#define OPTEE_MSG_ATTR_NONCONTIG 0x200u

#define TEE_PARAM_TYPE_MEMREF_INPUT 5u
#define TEE_PARAM_TYPE_MEMREF_OUTPUT 6u
#define TEE_PARAM_TYPE_MEMREF_INOUT 7u

#define PARAMS_MOST 4u

struct optee_msg_param {
    uint32_t attr, attr_high;
    uint32_t a, a_high; /* value a, buffer address (TMEM), or offset in a registered buffer (RMEM) */
    uint32_t b, b_high; /* value b, or buffer size */
    uint32_t c, c_high; /* value c, or shared-memory reference */
};

struct optee_msg_arg {
    uint32_t cmd;
    uint32_t func;
    uint32_t session;
    uint32_t cancel_id;
    uint32_t pad;
    uint32_t ret;
    uint32_t ret_origin;
    uint32_t num_params;
    struct optee_msg_param params[2 + PARAMS_MOST];
};

extern volatile struct optee_msg_arg *const msg;

/* Clear the message and fill its head. */
void message_start(uint32_t cmd, uint32_t func, uint32_t session, uint32_t num_params);

/*
 * Hand the message over and return r0 of the call. Requests of the secure world are answered without doing anything:
 * no interrupt is taken here, an allocation fails, and no message of its own is served.
 */
uint32_t message_call(void);

/* Issue `smc #0` with r0..r7 = registers, and store r0..r7 back. */
void smc_call(uint32_t registers[8]);

#endif
