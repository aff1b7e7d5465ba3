/*
 * Interrupts of three kinds on the M4: SysTick, a block with a clock (TIM2), and a message of the A7 (IPCC channel 1).
 * The A7 rings when the state word says that all are armed; the program reports that it runs when each came as often as
 * it waits for. Between interrupts it sleeps in WFI.
 */
#include "faults.h"
#include "report.h"
#include "stm32mp15.h"

#define COPRO_STATE_INIT 1u

#define SYSTICK_CSR 0xe000e010u
#define SYSTICK_RVR 0xe000e014u
#define SYSTICK_CVR 0xe000e018u
#define SYSTICK_RUN 7u /* core clock, interrupt, enable */

#define TIM2_CR1 0x40000000u
#define TIM2_DIER 0x4000000cu
#define TIM2_SR 0x40000010u
#define TIM2_ARR 0x4000002cu
#define RCC_APB1_TIM2EN (1u << 0)

#define RCC_MC_AHB3ENSETR 0x50000aa0u
#define RCC_AHB3_IPCCEN (1u << 12)
#define IPCC_C2CR 0x4c001010u
#define IPCC_C2MR 0x4c001014u
#define IPCC_C2SCR 0x4c001018u

#define EXCEPTION_SYSTICK 15u
#define IRQ_TIM2 28u
#define IRQ_IPCC_RX1 103u
#define VECTORS (16u + 150u)

/* Periods in cycles of the M4; neither divides the other. */
#define SYSTICK_PERIOD 20900u
#define TIM2_PERIOD 13100u
#define SYSTICKS 5u
#define UPDATES 7u

extern const uint32_t cosim_vectors[VECTORS];

/* VTOR wants the table aligned to its size, rounded up to a power of two. */
static uint32_t vectors[VECTORS] __attribute__((aligned(1024)));

/* How often each came, and the exception number that each handler found in IPSR. */
volatile uint32_t irq_counts[3];
volatile uint32_t irq_numbers[3];

int main(void);

static void count(uint32_t which)
{
    uint32_t number;

    __asm volatile("mrs %0, ipsr" : "=r"(number));
    irq_counts[which]++;
    irq_numbers[which] = number;
}

static void on_systick(void)
{
    count(0);
    if (irq_counts[0] == SYSTICKS)
        REG32(SYSTICK_CSR) = 0;
}

static void on_tim2(void)
{
    REG32(TIM2_SR) = 0;
    count(1);
    if (irq_counts[1] == UPDATES)
        REG32(TIM2_CR1) = 0;
    __asm volatile("dsb" ::: "memory");
}

static void on_ipcc(void)
{
    REG32(IPCC_C2SCR) = 1u;
    count(2);
    __asm volatile("dsb" ::: "memory");
}

static void take(uint32_t exception, void (*handler)(void))
{
    vectors[exception] = (uint32_t)(uintptr_t)handler;
    if (exception >= 16u)
        REG32(NVIC_ISER + (exception - 16u) / 32u * 4u) = 1u << ((exception - 16u) % 32u);
}

static void arm(void)
{
    uint32_t n;

    for (n = 0; n < VECTORS; n++)
        vectors[n] = cosim_vectors[n];
    REG32(SCB_VTOR) = (uint32_t)(uintptr_t)vectors;
    take(EXCEPTION_SYSTICK, on_systick);
    take(16u + IRQ_TIM2, on_tim2);
    take(16u + IRQ_IPCC_RX1, on_ipcc);

    REG32(RCC_MC_AHB3ENSETR) = RCC_AHB3_IPCCEN;
    REG32(IPCC_C2MR) = ~1u;
    REG32(IPCC_C2CR) = 1u;
    REG32(RCC_MC_APB1ENSETR) = RCC_APB1_TIM2EN;
    REG32(TIM2_ARR) = TIM2_PERIOD - 1u;
    REG32(TIM2_DIER) = 1u;
    REG32(TIM2_CR1) = 1u;
    REG32(SYSTICK_RVR) = SYSTICK_PERIOD - 1u;
    REG32(SYSTICK_CVR) = 0;
    REG32(SYSTICK_CSR) = SYSTICK_RUN;
}

int main(void)
{
    faults_enable();
    report_init();
    arm();
    report_state(COPRO_STATE_INIT);
    /* Masked, so that no interrupt can come between the look at the counts and WFI, which wakes up nevertheless. */
    __asm volatile("cpsid i" ::: "memory");
    while (irq_counts[0] < SYSTICKS || irq_counts[1] < UPDATES || irq_counts[2] < 1u)
        __asm volatile("wfi\n cpsie i\n isb\n cpsid i" ::: "memory");
    __asm volatile("cpsie i" ::: "memory");
    report_text("irq: SysTick ");
    report_hex(irq_counts[0]);
    report_text(" TIM2 ");
    report_hex(irq_counts[1]);
    report_text(" IPCC ");
    report_hex(irq_counts[2]);
    report_text("\n");
    report_state(COPRO_STATE_RUN);
    for (;;)
        __asm volatile("wfi");
}
