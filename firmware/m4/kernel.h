/*
 * The two-task kernel: what kernel_switch.S, kernel.c and kernel_main.c share.
 */
#ifndef COSIM_KERNEL_H
#define COSIM_KERNEL_H

#include <stdint.h>

/* One tick is a millisecond of the M4's 209 MHz. */
#define KERNEL_TICK_CYCLES 209000u

/* External interrupts that no block of the firmware uses: they are pended by software. */
#define KERNEL_LOW_IRQ 100u
#define KERNEL_HIGH_IRQ 20u
#define KERNEL_TAIL_IRQ 149u

/* SVC numbers; the argument is in r0. */
#define KERNEL_SVC_ADD 1u

/* Ticks since start, switches of tasks, sum of the SVC arguments. */
extern volatile uint32_t kernel_ticks;
extern volatile uint32_t kernel_switches;
extern volatile uint32_t kernel_svc_sum;

/* What the nested interrupts did, in order: see kernel.c. */
#define KERNEL_ORDER_SIZE 16u
extern volatile char kernel_order[KERNEL_ORDER_SIZE];

/* Run both tasks, each on a stack of its own, the second one unprivileged; does not return. */
_Noreturn void kernel_run(void (*first)(void), void (*second)(void));

/* Give the SVC handler `value`. */
static inline void kernel_svc_add(uint32_t value)
{
    register uint32_t r0 __asm("r0") = value;

    __asm volatile("svc %1" : "+r"(r0) : "I"(KERNEL_SVC_ADD) : "memory");
}

/* Fill s0 to s31 with a pattern, spin for `rounds`, and count the registers that have another value then. */
uint32_t kernel_hold_fp(uint32_t pattern, uint32_t rounds);

#endif
