/*
 * Fault handling of the M4: records the fault registers, returns from an expected fault, reports a crash otherwise.
 */
#include "faults.h"

#include "report.h"
#include "stm32mp15.h"

volatile uint32_t cosim_fault_count;
volatile uint32_t cosim_fault_number;
volatile uint32_t cosim_fault_cfsr;
volatile uint32_t cosim_fault_hfsr;
volatile uint32_t cosim_fault_mmfar;
volatile uint32_t cosim_fault_bfar;
volatile uint32_t cosim_fault_pc;
volatile uint32_t fault_expected;

/* Words of the exception frame. */
enum { FRAME_LR = 5, FRAME_PC = 6 };

void fault_handler(uint32_t *frame, uint32_t number);

void faults_enable(void)
{
    REG32(SCB_SHCSR) |= SCB_SHCSR_MEMFAULTENA | SCB_SHCSR_BUSFAULTENA | SCB_SHCSR_USGFAULTENA;
}

static void record(const uint32_t *frame, uint32_t number)
{
    cosim_fault_count++;
    cosim_fault_number = number;
    cosim_fault_cfsr = REG32(SCB_CFSR);
    cosim_fault_hfsr = REG32(SCB_HFSR);
    cosim_fault_mmfar = REG32(SCB_MMFAR);
    cosim_fault_bfar = REG32(SCB_BFAR);
    cosim_fault_pc = frame[FRAME_PC];
    REG32(SCB_CFSR) = cosim_fault_cfsr; /* write one to clear */
    REG32(SCB_HFSR) = cosim_fault_hfsr;
}

static uint32_t behind(uint32_t pc)
{
    uint16_t first = *(const volatile uint16_t *)(uintptr_t)pc;
    return pc + (first >= 0xe800u ? 4u : 2u);
}

/* Called by fault_entry with the stacked frame; returning ends the exception. */
void fault_handler(uint32_t *frame, uint32_t number)
{
    record(frame, number);
    if (!fault_expected) {
        report_state(COPRO_STATE_CRASH);
        for (;;)
            __asm volatile("wfi");
    }
    if (cosim_fault_cfsr & (SCB_CFSR_IACCVIOL | SCB_CFSR_IBUSERR))
        frame[FRAME_PC] = frame[FRAME_LR] & ~1u; /* nothing can be executed there: back to the caller */
    else if (!(cosim_fault_cfsr & SCB_CFSR_IMPRECISERR))
        frame[FRAME_PC] = behind(frame[FRAME_PC]);
}
