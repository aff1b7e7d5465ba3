/*
 * Buffers that the secure world may see for the time of one call.
 */
#ifndef COSIM_SHM_H
#define COSIM_SHM_H

#include <stdint.h>

/* A parameter as the message has it; a buffer at `address`, 0 when there is none. */
struct shm_buffer {
    uint32_t attr, a, b, c;
    uint32_t address;
};

/* Why a buffer cannot be shared: r0 of a call or OPTEE_SMC_RETURN_*; when that is 0, the TEE's result and its origin. */
struct shm_error {
    uint32_t smc, ret, origin;
};

/* Start a new set of buffers; what is left of the last one must have been released. */
void shm_begin(void);

/*
 * Share `size` bytes at `address` as a TEE memref of `type`: their pages are registered where the secure world takes
 * that (dynamic shared memory), else they are copied into the reserved memory. Address or size 0 is a NULL memref.
 * Returns 0 when it fails. The first buffer asks the secure world for its capabilities.
 */
int shm_share(struct shm_buffer *buffer, uint32_t type, uint32_t address, uint32_t size, struct shm_error *error);

/* Bring the `written` bytes of the TA back to where the buffer was copied from, at most what it has room for. */
void shm_fetch(const struct shm_buffer *buffer, uint32_t written);

/* Take a registered buffer back from the secure world, which overwrites the message. */
void shm_release(const struct shm_buffer *buffer);

#endif
