/*
 * IPCC of the STM32MP15 as processor 2: see mailbox.h.
 */
#include "mailbox.h"

#include "stm32mp15.h"

#define RCC_MC_AHB3ENSETR 0x50000aa0u
#define RCC_AHB3_IPCCEN (1u << 12)
#define IPCC_C1TOC2SR 0x4c00100cu
#define IPCC_C2SCR 0x4c001018u
#define IPCC_C2TOC1SR 0x4c00101cu
#define IPCC_SET_SHIFT 16u

void mailbox_init(void)
{
    REG32(RCC_MC_AHB3ENSETR) = RCC_AHB3_IPCCEN;
}

void mailbox_ring(uint32_t channel)
{
    /* The ring's contents must be in memory before the A7 can see the flag. */
    __asm volatile("dmb" ::: "memory");
    if (!(REG32(IPCC_C2TOC1SR) & (1u << channel)))
        REG32(IPCC_C2SCR) = 1u << (IPCC_SET_SHIFT + channel);
}

int mailbox_shutdown_asked(void)
{
    uint32_t flags = REG32(IPCC_C1TOC2SR);
    uint32_t queues = flags & ((1u << MAILBOX_VQ0) | (1u << MAILBOX_VQ1));

    if (queues)
        REG32(IPCC_C2SCR) = queues;
    return (flags >> MAILBOX_SHUTDOWN) & 1u;
}

void mailbox_shutdown_done(void)
{
    REG32(IPCC_C2SCR) = 1u << MAILBOX_SHUTDOWN;
}
