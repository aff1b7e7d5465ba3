/*
 * The client's side of the OP-TEE message interface for sessions and commands of a TA.
 */
#ifndef COSIM_OPTEE_H
#define COSIM_OPTEE_H

#include <stdint.h>

#include "steps.h"

/* TA commands with a name of their own (ta_remoteproc.h). */
enum ta_rproc_command {
    TA_RPROC_CMD_LOAD_FW = 1,
    TA_RPROC_CMD_START_FW,
    TA_RPROC_CMD_STOP_FW,
    TA_RPROC_CMD_GET_RSC_TABLE,
    TA_RPROC_CMD_GET_COREDUMP,
    TA_RPROC_CMD_RELEASE_FW,
};

/* Places of the common results of OPEN, INVOKE and CLOSE. */
enum { RESULT_SMC = 0, RESULT_RET = 1, RESULT_ORIGIN = 2, RESULT_OPEN_SESSION = 3, RESULT_INVOKE_PARAMS = 3 };

/*
 * Run one OPEN, INVOKE or CLOSE step: build the message, issue the SMC, store the results in the step.
 * A step that cannot be built gives STATUS_SMC_ERROR with OPTEE_SMC_RETURN_EBADCMD or _ENOMEM. A buffer that the secure
 * world does not take ends the step with the answer to its registration.
 */
enum step_status optee_open(volatile struct step *step);
enum step_status optee_invoke(volatile struct step *step);
enum step_status optee_close(volatile struct step *step);

#endif
