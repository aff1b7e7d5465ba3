/*
 * The GIC and the generic timer as the A7 client uses them: see interrupt.h.
 */
#include "interrupt.h"

#include "fault.h"
#include "stm32mp15.h"

#define INTERRUPTS 288u
#define SPURIOUS 1020u
#define TIMER_ID 30u /* the physical timer of PL1, a private interrupt */
#define PRIORITY 0xa0u
#define ALL_PRIORITIES 0xf8u

static volatile struct interrupt_wait now;
static volatile uint32_t came, over;

void irq_taken(void);

static uint64_t counter(void)
{
    uint32_t low, high;

    __asm volatile("isb\n\tmrrc p15, 0, %0, %1, c14" : "=r"(low), "=r"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static void timer_control(uint32_t value)
{
    __asm volatile("mcr p15, 0, %0, c14, c2, 1\n\tisb" : : "r"(value) : "memory");
}

static void timer_start(uint64_t at)
{
    __asm volatile("mcrr p15, 2, %0, %1, c14" : : "r"((uint32_t)at), "r"((uint32_t)(at >> 32)) : "memory");
    timer_control(1);
}

static void gic_enable(uint32_t id, uint32_t flags)
{
    uint32_t config = GICD_ICFGR + 4u * (id / 16u), edge = 2u << (2u * (id % 16u));

    if (id >= 32) {
        REG32(config) = (REG32(config) & ~edge) | ((flags & INTERRUPT_EDGE) ? edge : 0);
        REG8(GICD_ITARGETSR + id) = 1;
    }
    REG8(GICD_IPRIORITYR + id) = PRIORITY;
    REG32(GICD_ISENABLER + 4u * (id / 32u)) = 1u << (id % 32u);
}

static void gic_disable(uint32_t id)
{
    REG32(GICD_ICENABLER + 4u * (id / 32u)) = 1u << (id % 32u);
}

/* Called by the IRQ vector. What came is disabled, because a level-sensitive source may not fall by itself. */
void irq_taken(void)
{
    uint32_t acknowledged = REG32(GICC_IAR), id = acknowledged & 0x3ffu;

    now.taken++;
    now.last = id;
    if (id >= SPURIOUS) {
        now.spurious++;
        return;
    }
    gic_disable(id);
    if (id == TIMER_ID) {
        timer_control(0);
        over = 1;
    }
    if (id == now.id)
        came = 1;
    REG32(GICC_EOIR) = acknowledged;
}

int interrupt_sleep(struct interrupt_wait *wait, uint32_t microseconds, uint32_t flags)
{
    uint32_t per_microsecond;
    uint64_t start = counter();

    now.id = wait->id;
    now.last = 1023;
    now.taken = now.spurious = 0;
    came = 0;
    over = microseconds == 0 && wait->id >= INTERRUPTS; /* nothing would ever end that */
    if (wait->id < INTERRUPTS)
        gic_enable(wait->id, flags);
    if (microseconds != 0) {
        __asm volatile("mrc p15, 0, %0, c14, c0, 0" : "=r"(per_microsecond));
        gic_enable(TIMER_ID, 0);
        timer_start(start + (uint64_t)microseconds * (per_microsecond / 1000000u));
    }
    REG32(GICC_PMR) = ALL_PRIORITIES;
    REG32(GICC_CTLR) = 1;
    REG32(GICD_CTLR) = 1;
    /* WFI with IRQ masked: what comes between the look at the flags and the sleep is not lost. */
    while (!came && !over && fault.kind == FAULT_NONE)
        __asm volatile("dsb\n\twfi\n\tcpsie i\n\tisb\n\tcpsid i" : : : "memory");
    timer_control(0);
    if (wait->id < INTERRUPTS)
        gic_disable(wait->id);
    gic_disable(TIMER_ID);
    REG32(GICD_CTLR) = 0;
    REG32(GICC_CTLR) = 0;
    wait->last = now.last;
    wait->taken = now.taken;
    wait->spurious = now.spurious;
    wait->ticks = (uint32_t)(counter() - start);
    return (int)came;
}
