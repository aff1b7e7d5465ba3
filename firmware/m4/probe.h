/*
 * What the fault probes record, one result per probe; tests read the tables from the memory of the simulated M4.
 * Every word is written by the M4 itself: by its exception handler, or by the probe after it went on.
 */
#ifndef COSIM_PROBE_H
#define COSIM_PROBE_H

#include <stdint.h>

#define PROBE_RECORDS 4u
#define PROBE_VALUES 8u

/* The basic part of an exception frame (ARMv7-M, B1.5.6). */
struct frame {
    uint32_t r0, r1, r2, r3, r12, lr, pc, xpsr;
};

/* One exception, as its handler saw it on entry. */
struct record {
    uint32_t number; /* IPSR */
    uint32_t cfsr, hfsr, mmfar, bfar, shcsr, icsr;
    uint32_t exc_return;
    uint32_t msp;  /* the main stack pointer on entry */
    uint32_t frame; /* the stack pointer that EXC_RETURN names */
    uint32_t pc, xpsr; /* stacked; zero where the frame lies in no memory */
};

struct result {
    uint32_t count;    /* exceptions taken; the first PROBE_RECORDS are recorded */
    uint32_t finished; /* the probe came to its end */
    uint32_t values[PROBE_VALUES]; /* what the probe says about itself */
    struct record records[PROBE_RECORDS];
};

/* An exception that a hook may act on before its handler returns. */
struct taken {
    uint32_t index; /* 0 for the first exception of the probe */
    uint32_t number;
    uint32_t exc_return; /* what the handler will return with */
    struct frame *frame;
    uint32_t stay; /* set by the hook: leave the stacked return address alone */
};

/* One probe and the state that it runs in. */
struct probe {
    const char *name;
    void (*run)(uint32_t *values);
    void (*hook)(struct taken *taken, uint32_t *values);
    uint32_t disabled;  /* faults that are not enabled, as in SHCSR */
    uint32_t shpr1;     /* priorities of MemManage, BusFault, UsageFault; 0: all 0x40. SVCall has 0x80. */
    uint32_t prigroup;
    uint8_t misaligned; /* CCR.STKALIGN is clear */
    uint8_t nonbase;    /* CCR.NONBASETHRDENA is set */
    uint8_t even_vector; /* of SVCall */
};

/* Where a fault handler returns to unless its hook says otherwise; set by each probe before it faults. */
extern volatile uint32_t probe_resume;

/* Words that the M4 may use, for handlers that repair the faulting access. */
extern volatile uint32_t probe_good_word;
extern volatile uint32_t probe_good_words[2];

/* The probes, in assembly: see probe_data.S and probe_state.S. */
void probe_read(uint32_t *values);
void probe_read_byte(uint32_t *values);
void probe_write(uint32_t *values);
void probe_write_double(uint32_t *values);
void probe_read_nothing(uint32_t *values);
void probe_write_nothing(uint32_t *values);
void probe_read_wide(uint32_t *values);
void probe_write_wide(uint32_t *values);
void probe_read_private(uint32_t *values);
void probe_breakpoint(uint32_t *values);
void probe_undefined_16(uint32_t *values);
void probe_undefined_32(uint32_t *values);
void probe_fetch_denied(uint32_t *values);
void probe_fetch_nothing(uint32_t *values);
void probe_fetch_never_execute(uint32_t *values);
void probe_fetch_private(uint32_t *values);
void probe_exc_return_in_thread(uint32_t *values);
void probe_even_address(uint32_t *values);
void probe_svc(uint32_t *values);
void probe_svc_primask(uint32_t *values);
void probe_svc_basepri_same(uint32_t *values);
void probe_svc_basepri_below(uint32_t *values);
void probe_read_primask(uint32_t *values);
void probe_read_basepri_same(uint32_t *values);
void probe_read_basepri_below(uint32_t *values);
void probe_fp_unused(uint32_t *values);
void probe_fp_svc(uint32_t *values);
void probe_fp_fault(uint32_t *values);
void probe_it_ittt(uint32_t *values);
void probe_it_itete(uint32_t *values);
void probe_it_first(uint32_t *values);
void probe_it_last(uint32_t *values);
void probe_it_skipped(uint32_t *values);
void probe_it_store(uint32_t *values);
void probe_it_store_wide(uint32_t *values);
void probe_it_store_nothing(uint32_t *values);
void probe_it_svc(uint32_t *values);
void probe_stack_aligned(uint32_t *values);
void probe_stack_misaligned(uint32_t *values);
void probe_stack_misaligned_allowed(uint32_t *values);
void probe_process_svc(uint32_t *values);
void probe_process_fault(uint32_t *values);
void probe_nested_read(uint32_t *values);
void probe_nested_read_nonbase(uint32_t *values);
void probe_nested_svc(uint32_t *values);
void probe_read_in_read(uint32_t *values);
void probe_undefined_in_read(uint32_t *values);
void probe_undefined_in_read_higher(uint32_t *values);
void probe_undefined_in_read_grouped(uint32_t *values);
void probe_read_disabled(uint32_t *values);
void probe_faultmask_set(uint32_t *values);
void probe_faultmask_in_hardfault(uint32_t *values);
void probe_return_illegal(uint32_t *values);
void probe_return_illegal_disabled(uint32_t *values);
void probe_return_to_handler_alone(uint32_t *values);
void probe_return_to_thread_nested(uint32_t *values);
void probe_return_to_thread_forged(uint32_t *values);
void probe_vector_even(uint32_t *values);
void probe_stacking_error_svc(uint32_t *values);
void probe_stacking_error_denied(uint32_t *values);
void probe_stacking_error_fault(uint32_t *values);
void probe_stacking_error_late(uint32_t *values);
void probe_unstacking_error(uint32_t *values);

/* Faults for handlers to take: a denied read and an undefined instruction, both stepped over. */
void probe_denied_read(void);
void probe_undefined(void);
void probe_supervisor_call(void);

/* Only returns. */
void probe_return(void);

#endif
