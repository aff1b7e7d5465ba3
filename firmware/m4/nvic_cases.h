/*
 * Cases of exceptions and interrupts: what each case and its handlers saw. Tests read the tables from the memory of the
 * simulated M4; every word in them was written by the M4 itself.
 */
#ifndef COSIM_NVIC_CASES_H
#define COSIM_NVIC_CASES_H

#include <stdint.h>

#define NVIC_VALUES 12u
#define NVIC_SEEN 8u
#define NVIC_TRACE 32u
#define TRACE_RETURN 0x8000u /* in the trace: the handler of that exception ends */

/* An exception frame (ARMv7-M, B1.5.6). */
struct nvic_frame {
    uint32_t r0, r1, r2, r3, r12, lr, pc, xpsr;
    uint32_t s[16], fpscr, reserved;
};

/* One exception, as its handler saw it on entry. */
struct nvic_seen {
    uint32_t number, exc_return, frame, msp, pc, xpsr, icsr, control;
};

struct nvic_result {
    uint32_t finished, traced, taken;
    uint16_t trace[NVIC_TRACE];
    uint32_t values[NVIC_VALUES];
    struct nvic_seen seen[NVIC_SEEN];
};

struct nvic_case {
    const char *name;
    void (*run)(uint32_t *values);
};

/* Every case, in the order in which they run. */
#define NVIC_CASES(CASE) \
    CASE(higher_preempts) \
    CASE(same_does_not_preempt) \
    CASE(lower_bits_are_not_there) \
    CASE(subpriority_does_not_preempt) \
    CASE(number_decides_among_equals) \
    CASE(priority_raised_while_active) \
    CASE(cps_unmasks_at_once) \
    CASE(msr_unmasks_at_once) \
    CASE(basepri_unmasks_at_once) \
    CASE(faultmask_unmasks_at_once) \
    CASE(unmasking_in_an_it_block) \
    CASE(pended_by_store) \
    CASE(basepri_lets_more_urgent_ones_through) \
    CASE(nmi_goes_before_faultmask) \
    CASE(return_clears_faultmask) \
    CASE(registers_in_a_handler) \
    CASE(rettobase) \
    CASE(software_trigger) \
    CASE(trigger_by_unprivileged) \
    CASE(unprivileged_is_kept_out) \
    CASE(pendsv_and_systick_by_icsr) \
    CASE(identity) \
    CASE(debug_blocks_do_not_hang) \
    CASE(level_stays_high) \
    CASE(own_store_is_late) \
    CASE(own_store_in_an_it_block_is_late) \
    CASE(store_behind_it_is_made) \
    CASE(late_one_ends_a_wfi) \
    CASE(late_one_pended_by_software) \
    CASE(active_bits_are_written) \
    CASE(handler_that_is_not_active_returns) \
    CASE(tail_chaining) \
    CASE(interrupt_of_a_process) \
    CASE(interrupt_of_an_unprivileged_process) \
    CASE(tick_meets_svc) \
    CASE(systick_counts) \
    CASE(systick_period) \
    CASE(reference_clock_period) \
    CASE(one_shot) \
    CASE(cycle_counter) \
    CASE(wfi_wakes_under_primask) \
    CASE(wfi_takes_the_interrupt) \
    CASE(wfi_goes_on_when_something_pends) \
    CASE(wfi_disregards_what_basepri_holds_back) \
    CASE(wfe_uses_the_event_up) \
    CASE(sevonpend_wakes_from_wfe) \
    CASE(sleep_on_exit) \
    CASE(lazy_frame_is_written_at_first_use) \
    CASE(lazy_frame_is_never_written_without_use) \
    CASE(frame_is_written_at_once_without_lspen) \
    CASE(first_use_in_an_it_block) \
    CASE(inner_handler_writes_the_outer_frame) \
    CASE(new_context_has_fpdscr) \
    CASE(fpu_without_access) \
    CASE(fpu_for_privileged_only) \
    CASE(coprocessor_that_is_not_there) \
    CASE(division_by_zero_traps) \
    CASE(division_by_zero_without_trap) \
    CASE(division_by_zero_in_an_it_block) \
    CASE(stacking_into_a_guard) \
    CASE(unstacking_from_a_guard)

#define NVIC_DECLARE(name) void nvic_case_##name(uint32_t *values);
NVIC_CASES(NVIC_DECLARE)

/* Called by a handler before it returns. */
typedef void (*nvic_hook)(struct nvic_frame *frame, uint32_t *values);

/* In nvic_code.S; each `_at` is the address of the instruction that an exception must find stacked. */
void nvic_entry(void);
uint32_t nvic_unmask_cps(volatile uint32_t *ispr, uint32_t bit);
uint32_t nvic_unmask_msr(volatile uint32_t *ispr, uint32_t bit);
uint32_t nvic_unmask_basepri(volatile uint32_t *ispr, uint32_t bit, uint32_t mask, uint32_t other);
uint32_t nvic_unmask_faultmask(volatile uint32_t *ispr, uint32_t bit);
uint32_t nvic_unmask_in_block(volatile uint32_t *ispr, uint32_t bit);
uint32_t nvic_pend_now(volatile uint32_t *ispr, uint32_t bit);
void nvic_late(volatile uint32_t *set, uint32_t bit);
void nvic_late_in_block(volatile uint32_t *set, uint32_t bit);
void nvic_late_and_masked(volatile uint32_t *set, uint32_t bit, volatile uint32_t *mask);
void nvic_late_asleep(volatile uint32_t *set, uint32_t bit);
void nvic_late_and_pended(volatile uint32_t *set, uint32_t bit, volatile uint32_t *ispr, uint32_t pend);
uint32_t nvic_divide(uint32_t dividend, uint32_t divisor);
uint32_t nvic_divide_in_block(uint32_t dividend, uint32_t divisor);
void nvic_use_fpu(void);
void nvic_use_fpu_in_block(uint32_t *memory);
void nvic_other_coprocessor(void);
void nvic_load_floating(const uint32_t *values);
uint32_t nvic_compare_floating(const uint32_t *values);
uint32_t nvic_on_process_stack(uint32_t control, uint32_t psp, void (*work)(void));
uint32_t nvic_tick_and_svc(volatile uint32_t *systick, uint32_t delay);
void nvic_svc_on_stack(uint32_t *sp);
void nvic_svc_on_stack_at(void);

#endif
