/*
 * Attempts of the M4 to use memory that belongs to the secure world, and what came of them.
 */
#ifndef COSIM_DDR_PROBE_H
#define COSIM_DDR_PROBE_H

/* Write, read and fetch at the base of OP-TEE's DDR and report each outcome; never crashes. */
void ddr_probe(void);

#endif
