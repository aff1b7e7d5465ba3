/*
 * The console line that tells how a step ended.
 */
#ifndef COSIM_OUTCOME_H
#define COSIM_OUTCOME_H

#include "steps.h"

/* Write one line such as "a7: LOAD_FW -> 0x00000000 origin 4". */
void outcome_print(volatile const struct step *step);

#endif
