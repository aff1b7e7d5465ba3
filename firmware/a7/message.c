/*
 * The message and its call: see message.h.
 */
#include "message.h"

#include "steps.h"

#define OPTEE_SMC_CALL_WITH_ARG 0x32000004u
#define OPTEE_SMC_CALL_RETURN_FROM_RPC 0x32000003u
#define OPTEE_SMC_SHM_CACHED 1u
#define OPTEE_SMC_RETURN_UNKNOWN_FUNCTION 0xffffffffu
#define OPTEE_SMC_RETURN_RPC_PREFIX 0xffff0000u
#define OPTEE_SMC_RPC_FUNC_ALLOC 0u

/* A secure world that keeps asking back must not hold the client for ever. */
#define RPC_MOST 1000u

volatile struct optee_msg_arg *const msg = (volatile struct optee_msg_arg *)SHM_ARGUMENT;

void message_start(uint32_t cmd, uint32_t func, uint32_t session, uint32_t num_params)
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

uint32_t message_call(void)
{
    uint32_t r[8] = {OPTEE_SMC_CALL_WITH_ARG, 0, SHM_ARGUMENT, OPTEE_SMC_SHM_CACHED, 0, 0, 0, 0};

    smc_call(r);
    for (uint32_t rpc = 0; rpc < RPC_MOST && wants_rpc(r[0]); rpc++) {
        if ((r[0] & 0xffffu) == OPTEE_SMC_RPC_FUNC_ALLOC)
            r[1] = r[2] = r[4] = r[5] = 0;
        r[0] = OPTEE_SMC_CALL_RETURN_FROM_RPC;
        smc_call(r);
    }
    return r[0];
}
