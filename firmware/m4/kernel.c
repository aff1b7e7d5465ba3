/*
 * A preemptive kernel of two tasks: SysTick at 1 kHz asks for PendSV, PendSV switches. Every fourth tick also starts a
 * chain of nested interrupts, which leaves its order in `kernel_order`:
 *   l  the low one begins, and pends the high one and the tail one
 *   H  the high one preempts it at once
 *   m  the low one goes on
 *   T  the tail one, of the low one's priority, comes when that has ended
 */
#include "kernel.h"

#include "stm32mp15.h"
#include "vectors.h"

#define SYST_CSR 0xe000e010u
#define SYST_RVR 0xe000e014u
#define SYST_CVR 0xe000e018u
#define SYST_ENABLE_TICKINT_CORE 7u

#define PRIORITY_HIGH 0x20u
#define PRIORITY_TICK 0x40u
#define PRIORITY_LOW 0x80u
#define PRIORITY_SVC 0xc0u
#define PRIORITY_SWITCH 0xf0u

#define TICKS_PER_CHAIN 4u
#define STACK_WORDS 256u
#define EXC_RETURN_THREAD_PSP 0xfffffffdu
#define XPSR_T (1u << 24)

/* What kernel_pendsv saves, from the lowest address: nPRIV, r4 to r11, EXC_RETURN, then the frame of the hardware. */
enum { SAVED_NPRIV = 0, SAVED_EXC_RETURN = 9, FRAME_PC = 16, FRAME_XPSR = 17, SAVED_WORDS = 18 };

volatile uint32_t kernel_ticks;
volatile uint32_t kernel_switches;
volatile uint32_t kernel_svc_sum;
volatile char kernel_order[KERNEL_ORDER_SIZE];

static uint32_t order_used;
static uint32_t stacks[2][STACK_WORDS] __attribute__((aligned(8)));
static uint32_t *saved[2];
static uint32_t current;

void kernel_pendsv(void);
void kernel_svcall(void);
uint32_t *kernel_next(uint32_t *stack);
void kernel_svc(uint32_t value, uint32_t number);

/* Called by kernel_pendsv with the stack pointer of the task that was at work. */
uint32_t *kernel_next(uint32_t *stack)
{
    saved[current] = stack;
    current ^= 1u;
    kernel_switches++;
    return saved[current];
}

void kernel_svc(uint32_t value, uint32_t number)
{
    if (number == KERNEL_SVC_ADD)
        kernel_svc_sum += value;
}

static void note(char c)
{
    if (order_used < KERNEL_ORDER_SIZE - 1u)
        kernel_order[order_used++] = c;
}

static void tick(void)
{
    kernel_ticks++;
    REG32(SCB_ICSR) = SCB_ICSR_PENDSVSET;
    if (kernel_ticks % TICKS_PER_CHAIN == 0)
        REG32(NVIC_ISPR + 4u * (KERNEL_LOW_IRQ / 32u)) = 1u << KERNEL_LOW_IRQ % 32u;
}

static void low(void)
{
    note('l');
    REG32(NVIC_STIR) = KERNEL_TAIL_IRQ;
    REG32(NVIC_STIR) = KERNEL_HIGH_IRQ;
    __asm volatile("dsb\n\tisb" ::: "memory");
    note('m');
}

static void high(void)
{
    note('H');
}

static void tail(void)
{
    note('T');
}

static void set_up_interrupts(void)
{
    vectors_init();
    vectors_set(VECTOR_SVCALL, kernel_svcall);
    vectors_set(VECTOR_PENDSV, kernel_pendsv);
    vectors_set(VECTOR_SYSTICK, tick);
    REG32(SCB_SHPR2) = PRIORITY_SVC << 24;
    REG32(SCB_SHPR3) = PRIORITY_TICK << 24 | PRIORITY_SWITCH << 16;
    vectors_enable_irq(KERNEL_LOW_IRQ, low, PRIORITY_LOW);
    vectors_enable_irq(KERNEL_TAIL_IRQ, tail, PRIORITY_LOW);
    vectors_enable_irq(KERNEL_HIGH_IRQ, high, PRIORITY_HIGH);
}

static uint32_t *prepare(uint32_t task, void (*entry)(void), uint32_t npriv)
{
    uint32_t *stack = &stacks[task][STACK_WORDS - SAVED_WORDS];

    stack[SAVED_NPRIV] = npriv;
    stack[SAVED_EXC_RETURN] = EXC_RETURN_THREAD_PSP;
    stack[FRAME_PC] = (uint32_t)(uintptr_t)entry & ~1u;
    stack[FRAME_XPSR] = XPSR_T;
    return stack;
}

void kernel_run(void (*first)(void), void (*second)(void))
{
    set_up_interrupts();
    saved[1] = prepare(1, second, 1);
    REG32(SYST_RVR) = KERNEL_TICK_CYCLES - 1u;
    REG32(SYST_CVR) = 0;
    REG32(SYST_CSR) = SYST_ENABLE_TICKINT_CORE;
    __asm volatile("msr psp, %0\n\t"
                   "msr control, %1\n\t"
                   "isb\n\t"
                   "bx %2"
                   :
                   : "r"(&stacks[0][STACK_WORDS]), "r"(2u), "r"(first)
                   : "memory");
    __builtin_unreachable();
}
