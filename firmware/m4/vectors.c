/*
 * Vectors in RAM: see vectors.h.
 */
#include "vectors.h"

#include "stm32mp15.h"

#define VECTORS 166u

/* VTOR wants the table aligned to the next power of two of its size. */
static uint32_t vectors[VECTORS] __attribute__((aligned(1024)));

extern const uint32_t cosim_vectors[VECTORS];

void vectors_init(void)
{
    for (uint32_t i = 0; i < VECTORS; i++)
        vectors[i] = cosim_vectors[i];
    REG32(SCB_VTOR) = (uint32_t)(uintptr_t)vectors;
    __asm volatile("dsb\n\tisb" ::: "memory");
}

void vectors_set(uint32_t number, void (*handler)(void))
{
    vectors[number] = (uint32_t)(uintptr_t)handler;
    __asm volatile("dsb" ::: "memory");
}

void vectors_enable_irq(uint32_t irq, void (*handler)(void), uint8_t priority)
{
    vectors_set(VECTOR_IRQ0 + irq, handler);
    REG8(NVIC_IPR + irq) = priority;
    REG32(NVIC_ISER + 4u * (irq / 32u)) = 1u << irq % 32u;
}
