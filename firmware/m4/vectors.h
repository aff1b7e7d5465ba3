/*
 * Vectors in RAM, for programs that handle more than faults, and the NVIC's side of an external interrupt.
 */
#ifndef COSIM_VECTORS_H
#define COSIM_VECTORS_H

#include <stdint.h>

/* Exception numbers of the ARMv7-M manual. */
enum { VECTOR_MEMMANAGE = 4, VECTOR_SVCALL = 11, VECTOR_PENDSV = 14, VECTOR_SYSTICK = 15, VECTOR_IRQ0 = 16 };

/* Copy the vectors that lie at 0 and let VTOR point at the copy. */
void vectors_init(void);

/* Handle exception `number` by `handler`. */
void vectors_set(uint32_t number, void (*handler)(void));

/* Handle external interrupt `irq` by `handler` at `priority` (the upper four bits count), and enable it. */
void vectors_enable_irq(uint32_t irq, void (*handler)(void), uint8_t priority);

#endif
