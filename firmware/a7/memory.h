/*
 * Copying between physical addresses given by a step.
 */
#ifndef COSIM_A7_MEMORY_H
#define COSIM_A7_MEMORY_H

#include <stdint.h>

/* Copy upwards, by words where both addresses are aligned; ends at the first fault. */
void copy(uint32_t destination, uint32_t source, uint32_t length);

#endif
