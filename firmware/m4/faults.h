/*
 * What the M4 knows about the faults it took. All variables are exported for the simulator's monitors and tests.
 */
#ifndef COSIM_FAULTS_H
#define COSIM_FAULTS_H

#include <stdint.h>

extern volatile uint32_t cosim_fault_count;  /* faults since start-up */
extern volatile uint32_t cosim_fault_number; /* exception number (IPSR) of the last one */
extern volatile uint32_t cosim_fault_cfsr;
extern volatile uint32_t cosim_fault_hfsr;
extern volatile uint32_t cosim_fault_mmfar;
extern volatile uint32_t cosim_fault_bfar;
extern volatile uint32_t cosim_fault_pc; /* stacked return address */

/* Non-zero while a probe runs that may fault: the handler then returns behind the access. */
extern volatile uint32_t fault_expected;

/* Enable MemManage, BusFault and UsageFault as exceptions of their own, else they escalate to HardFault. */
void faults_enable(void);

#endif
