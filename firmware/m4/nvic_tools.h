/*
 * Registers, numbers and small steps that the files of NVIC cases share.
 */
#ifndef COSIM_NVIC_TOOLS_H
#define COSIM_NVIC_TOOLS_H

#include "nvic_cases.h"

#include "stm32mp15.h"
#include "vectors.h"

#define NVIC_ICTR 0xe000e004u
#define SYST_CSR 0xe000e010u
#define SYST_RVR 0xe000e014u
#define SYST_CVR 0xe000e018u
#define SYST_CALIB 0xe000e01cu
#define NVIC_ICER 0xe000e180u
#define NVIC_ICPR 0xe000e280u
#define NVIC_IABR 0xe000e300u
#define SCB_AIRCR 0xe000ed0cu
#define SCB_SCR 0xe000ed10u
#define SCB_CCR 0xe000ed14u
#define SCB_SHPR1 0xe000ed18u
#define ID_MMFR0 0xe000ed50u
#define ID_ISAR1 0xe000ed64u
#define SCB_CPACR 0xe000ed88u
#define MPU_CTRL 0xe000ed94u
#define MPU_RBAR 0xe000ed9cu
#define MPU_RASR 0xe000eda0u
#define DEMCR 0xe000edfcu
#define FPCCR 0xe000ef34u
#define FPCAR 0xe000ef38u
#define FPDSCR 0xe000ef3cu
#define MVFR0 0xe000ef40u
#define DWT_CTRL 0xe0001000u
#define DWT_CYCCNT 0xe0001004u
#define ITM_STIM0 0xe0000000u
#define ITM_TER 0xe0000e00u
#define ITM_TCR 0xe0000e80u
#define ITM_LAR 0xe0000fb0u
#define DBGMCU_IDCODE 0x50081000u
#define EXTI_SWIER1 0x5000d008u
#define EXTI_RPR1 0x5000d00cu
#define EXTI_C2IMR1 0x5000d0c0u

#define AIRCR_KEY 0x05fa0000u
#define SCR_SLEEPONEXIT 2u
#define SCR_SEVONPEND 16u
#define CCR_NONBASETHRDENA 1u
#define CCR_USERSETMPEND 2u
#define CCR_DIV_0_TRP 16u
#define ICSR_NMIPENDSET (1u << 31)
#define ICSR_PENDSVCLR (1u << 27)
#define ICSR_PENDSTSET (1u << 26)
#define ICSR_PENDSTCLR (1u << 25)
#define FPCCR_ASPEN (1u << 31)
#define FPCCR_LSPEN (1u << 30)
#define FPCCR_LSPACT 1u
#define SHCSR_SVCALLACT (1u << 7)
#define TRCENA (1u << 24)

enum { NMI = 2, HARDFAULT = 3, MEMMANAGE = 4, BUSFAULT = 5, USAGEFAULT = 6 };
enum { FIRST_IRQ = 20, A = FIRST_IRQ, B, C, D, EXTI0_IRQ = 6 };
#define NUMBER(irq) (16u + (irq))
#define BIT(irq) (1u << (irq) % 32u)
#define SLOT(base, irq) REG32((base) + 4u * ((irq) / 32u))
#define PROCESS_STACK_WORDS 128u
#define SAFE_STACK (nvic_process_stack + PROCESS_STACK_WORDS)


/* What handlers do before they return, by exception number; cleared before each case. */
extern nvic_hook nvic_hooks[16 + 32];
/* The result of the case at work. */
extern volatile struct nvic_result *nvic_result;
extern uint32_t nvic_process_stack[PROCESS_STACK_WORDS];

static inline void barrier(void)
{
    __asm volatile("dsb\n\tisb" ::: "memory");
}

static inline void irq(uint32_t number, uint8_t priority, nvic_hook hook)
{
    nvic_hooks[NUMBER(number)] = hook;
    vectors_enable_irq(number, nvic_entry, priority);
}

static inline void pend(uint32_t number)
{
    SLOT(NVIC_ISPR, number) = BIT(number);
    barrier();
}

static inline void mask(void)
{
    __asm volatile("cpsid i" ::: "memory");
}

static inline void unmask(void)
{
    __asm volatile("cpsie i" ::: "memory");
}

static inline void tick(uint32_t reload, uint32_t control)
{
    REG32(SYST_CSR) = 0;
    REG32(SYST_RVR) = reload;
    REG32(SYST_CVR) = 0;
    REG32(SYST_CSR) = control;
}

static inline void stop_tick(struct nvic_frame *frame, uint32_t *values)
{
    (void)frame;
    (void)values;
    REG32(SYST_CSR) = 0;
}

static inline void wait(uint32_t rounds)
{
    while (rounds--)
        __asm volatile("nop");
}

static inline void wfi(void)
{
    __asm volatile("wfi" ::: "memory");
}

static inline void wfe(void)
{
    __asm volatile("wfe" ::: "memory");
}

/* The instruction behind the one that is 16 or 32 bits long. */
static inline void step_over(struct nvic_frame *frame, uint32_t *values)
{
    (void)values;
    frame->pc += 4;
    frame->xpsr &= ~0x0600fc00u;
}

static inline void become_privileged(struct nvic_frame *frame, uint32_t *values)
{
    (void)frame;
    (void)values;
    uint32_t control;

    __asm volatile("mrs %0, control" : "=r"(control));
    __asm volatile("msr control, %0\n\tisb" : : "r"(control & ~1u));
}

#endif
