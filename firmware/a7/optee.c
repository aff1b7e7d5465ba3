/*
 * The client's side of the OP-TEE message interface (optee_msg.h, optee_smc.h): sessions and commands.
 */
#include "optee.h"

#include "fault.h"
#include "message.h"
#include "shm.h"

/* Hand the message over and keep what came of it in the step. */
static enum step_status message_send(volatile struct step *step)
{
    if (fault.kind != FAULT_NONE)
        return STATUS_FAULTED;
    step->result[RESULT_SMC] = message_call();
    step->result[RESULT_RET] = msg->ret;
    step->result[RESULT_ORIGIN] = msg->ret_origin;
    return step->result[RESULT_SMC] == 0 ? STATUS_DONE : STATUS_SMC_ERROR;
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

/* A buffer could not be shared: the step ends with what the call for it said, as if that were its own. */
static enum step_status not_shared(volatile struct step *step, const struct shm_error *error)
{
    if (error->smc != 0)
        return refuse(step, error->smc);
    step->result[RESULT_SMC] = 0;
    step->result[RESULT_RET] = error->ret;
    step->result[RESULT_ORIGIN] = error->origin;
    return STATUS_DONE;
}

/* The parameters of an INVOKE step with its buffers shared; *shared counts how many of them are to be released. */
static int share_all(volatile struct step *step, struct shm_buffer *params, uint32_t *shared, struct shm_error *error)
{
    uint32_t count = step->args[3];

    shm_begin();
    for (*shared = 0; *shared < count; ++*shared) {
        uint32_t type = type_of(step->args[2], *shared);
        uint32_t a = step->args[4 + 2 * *shared], b = step->args[5 + 2 * *shared];

        if (!is_memref(type))
            params[*shared] = (struct shm_buffer){.attr = type, .a = a, .b = b};
        else if (!shm_share(&params[*shared], type, a, b, error))
            return 0;
    }
    return 1;
}

static enum step_status invoke_with(volatile struct step *step, const struct shm_buffer *params)
{
    uint32_t count = step->args[3];

    message_start(OPTEE_MSG_CMD_INVOKE_COMMAND, step->args[1], step->args[0], count);
    for (uint32_t i = 0; i < count; i++) {
        msg->params[i].attr = params[i].attr;
        msg->params[i].a = params[i].a;
        msg->params[i].b = params[i].b;
        msg->params[i].c = params[i].c;
    }
    enum step_status status = message_send(step);
    for (uint32_t i = 0; i < count; i++) {
        int memref = is_memref(type_of(step->args[2], i));

        if (status == STATUS_DONE)
            shm_fetch(&params[i], msg->params[i].b);
        step->result[RESULT_INVOKE_PARAMS + 2 * i] = memref ? step->args[4 + 2 * i] : msg->params[i].a;
        step->result[RESULT_INVOKE_PARAMS + 2 * i + 1] = msg->params[i].b;
    }
    return status;
}

enum step_status optee_invoke(volatile struct step *step)
{
    struct shm_buffer params[PARAMS_MOST];
    struct shm_error error = {0, 0, 0};
    uint32_t shared;
    enum step_status status;

    if (step->args[3] > PARAMS_MOST)
        return refuse(step, OPTEE_SMC_RETURN_EBADCMD);
    if (share_all(step, params, &shared, &error))
        status = invoke_with(step, params);
    else
        status = not_shared(step, &error);
    while (shared-- != 0)
        shm_release(&params[shared]);
    return status;
}

enum step_status optee_close(volatile struct step *step)
{
    message_start(OPTEE_MSG_CMD_CLOSE_SESSION, 0, step->args[0], 0);
    return message_send(step);
}
