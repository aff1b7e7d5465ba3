/*
 * The client's side of the OP-TEE message interface (optee_msg.h, optee_smc.h) over reserved shared memory.
 */
#include "optee.h"

#include "fault.h"
#include "memory.h"

#define OPTEE_SMC_CALL_WITH_ARG 0x32000004u
#define OPTEE_SMC_CALL_RETURN_FROM_RPC 0x32000003u
#define OPTEE_SMC_SHM_CACHED 1u
#define OPTEE_SMC_RETURN_EBADCMD 5u
#define OPTEE_SMC_RETURN_ENOMEM 6u
#define OPTEE_SMC_RETURN_UNKNOWN_FUNCTION 0xffffffffu
#define OPTEE_SMC_RETURN_RPC_PREFIX 0xffff0000u
#define OPTEE_SMC_RPC_FUNC_ALLOC 0u

#define OPTEE_MSG_CMD_OPEN_SESSION 0u
#define OPTEE_MSG_CMD_INVOKE_COMMAND 1u
#define OPTEE_MSG_CMD_CLOSE_SESSION 2u
#define OPTEE_MSG_ATTR_TYPE_VALUE_INPUT 0x1u
#define OPTEE_MSG_ATTR_TYPE_TMEM_INPUT 0x9u
#define OPTEE_MSG_ATTR_META 0x100u

#define TEE_PARAM_TYPE_MEMREF_INPUT 5u
#define TEE_PARAM_TYPE_MEMREF_OUTPUT 6u
#define TEE_PARAM_TYPE_MEMREF_INOUT 7u

#define PARAMS_MOST 4u
#define PAGE 4096u

/* A secure world that keeps asking back must not hold the client for ever. */
#define RPC_MOST 1000u

struct optee_msg_param {
    uint32_t attr, attr_high;
    uint32_t a, a_high; /* value a, or buffer address */
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

static volatile struct optee_msg_arg *const msg = (volatile struct optee_msg_arg *)SHM_ARGUMENT;

static void message_start(uint32_t cmd, uint32_t func, uint32_t session, uint32_t num_params)
{
    volatile uint32_t *word = (volatile uint32_t *)SHM_ARGUMENT;

    for (uint32_t i = 0; i < sizeof(*msg) / 4; i++)
        word[i] = 0;
    msg->cmd = cmd;
    msg->func = func;
    msg->session = session;
    msg->num_params = num_params;
}

static int wants_rpc(uint32_t r0)
{
    return (r0 & OPTEE_SMC_RETURN_RPC_PREFIX) == OPTEE_SMC_RETURN_RPC_PREFIX && r0 != OPTEE_SMC_RETURN_UNKNOWN_FUNCTION;
}

/*
 * Issue the yielding call. Requests of the secure world are answered without doing anything: no interrupt is taken
 * here, an allocation fails, and no message of its own is served.
 */
static enum step_status message_send(volatile struct step *step)
{
    uint32_t r[8] = {OPTEE_SMC_CALL_WITH_ARG, 0, SHM_ARGUMENT, OPTEE_SMC_SHM_CACHED, 0, 0, 0, 0};

    if (fault.kind != FAULT_NONE)
        return STATUS_FAULTED;
    smc_call(r);
    for (uint32_t rpc = 0; rpc < RPC_MOST && wants_rpc(r[0]); rpc++) {
        if ((r[0] & 0xffffu) == OPTEE_SMC_RPC_FUNC_ALLOC)
            r[1] = r[2] = r[4] = r[5] = 0;
        r[0] = OPTEE_SMC_CALL_RETURN_FROM_RPC;
        smc_call(r);
    }
    step->result[RESULT_SMC] = r[0];
    step->result[RESULT_RET] = msg->ret;
    step->result[RESULT_ORIGIN] = msg->ret_origin;
    return r[0] == 0 ? STATUS_DONE : STATUS_SMC_ERROR;
}

static enum step_status refuse(volatile struct step *step, uint32_t smc_return)
{
    step->result[RESULT_SMC] = smc_return;
    return STATUS_SMC_ERROR;
}

static uint32_t type_of(uint32_t types, uint32_t index)
{
    return (types >> (4 * index)) & 15u;
}

static int is_memref(uint32_t type)
{
    return type >= TEE_PARAM_TYPE_MEMREF_INPUT && type <= TEE_PARAM_TYPE_MEMREF_INOUT;
}

/* TEE memref types become temporary memory references; every other nibble goes out as it is, valid or not. */
static uint32_t attr_of(uint32_t type)
{
    return is_memref(type) ? type - TEE_PARAM_TYPE_MEMREF_INPUT + OPTEE_MSG_ATTR_TYPE_TMEM_INPUT : type;
}

enum step_status optee_open(volatile struct step *step)
{
    uint32_t count = step->args[5];
    volatile struct optee_msg_param *ta = &msg->params[2];

    if (count > PARAMS_MOST)
        return refuse(step, OPTEE_SMC_RETURN_EBADCMD);
    message_start(OPTEE_MSG_CMD_OPEN_SESSION, 0, 0, 2 + count);
    msg->params[0].attr = OPTEE_MSG_ATTR_META | OPTEE_MSG_ATTR_TYPE_VALUE_INPUT;
    msg->params[0].a = step->args[0];
    msg->params[0].a_high = step->args[1];
    msg->params[0].b = step->args[2];
    msg->params[0].b_high = step->args[3];
    msg->params[1].attr = OPTEE_MSG_ATTR_META | OPTEE_MSG_ATTR_TYPE_VALUE_INPUT;
    msg->params[1].c = step->args[4];
    for (uint32_t i = 0; i < count; i++)
        ta[i].attr = attr_of(type_of(step->args[6], i));
    if (count != 0) {
        ta[0].a = step->args[7];
        ta[0].b = step->args[8];
    }
    enum step_status status = message_send(step);
    step->result[RESULT_OPEN_SESSION] = msg->session;
    return status;
}

/*
 * Put one memref into shared memory at *free and make room behind it. Address 0 stands for a NULL memref.
 * Returns 0 when the shared memory is used up.
 */
static int place_memref(volatile struct optee_msg_param *param, uint32_t type, uint32_t address, uint32_t size,
                        uint32_t *free)
{
    param->b = size;
    if (address == 0)
        return 1;
    if (size > SHM_END - *free)
        return 0;
    param->a = *free;
    param->c = *free;
    if (type != TEE_PARAM_TYPE_MEMREF_OUTPUT)
        copy(*free, address, size);
    *free += (size + PAGE - 1) & ~(PAGE - 1);
    return 1;
}

/* Bring what the TA wrote back to the staging area, at most as much as it was given room for. */
static void fetch_memref(volatile const struct optee_msg_param *param, uint32_t type, uint32_t buffer, uint32_t address,
                         uint32_t size)
{
    uint32_t written = param->b < size ? param->b : size;

    if (type != TEE_PARAM_TYPE_MEMREF_INPUT && address != 0)
        copy(address, buffer, written);
}

enum step_status optee_invoke(volatile struct step *step)
{
    uint32_t types = step->args[2], count = step->args[3], free = SHM_BUFFERS;
    uint32_t buffer[PARAMS_MOST];

    if (count > PARAMS_MOST)
        return refuse(step, OPTEE_SMC_RETURN_EBADCMD);
    message_start(OPTEE_MSG_CMD_INVOKE_COMMAND, step->args[1], step->args[0], count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t type = type_of(types, i), a = step->args[4 + 2 * i], b = step->args[5 + 2 * i];

        msg->params[i].attr = attr_of(type);
        buffer[i] = free;
        if (!is_memref(type)) {
            msg->params[i].a = a;
            msg->params[i].b = b;
        } else if (!place_memref(&msg->params[i], type, a, b, &free)) {
            return refuse(step, OPTEE_SMC_RETURN_ENOMEM);
        }
    }
    enum step_status status = message_send(step);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t type = type_of(types, i), a = step->args[4 + 2 * i], b = step->args[5 + 2 * i];

        if (is_memref(type) && status == STATUS_DONE)
            fetch_memref(&msg->params[i], type, buffer[i], a, b);
        step->result[RESULT_INVOKE_PARAMS + 2 * i] = is_memref(type) ? a : msg->params[i].a;
        step->result[RESULT_INVOKE_PARAMS + 2 * i + 1] = msg->params[i].b;
    }
    return status;
}

enum step_status optee_close(volatile struct step *step)
{
    message_start(OPTEE_MSG_CMD_CLOSE_SESSION, 0, step->args[0], 0);
    return message_send(step);
}
