/*
 * A user of the MPU, as an RTOS protects itself: constants that cannot be written, data that cannot be executed, a
 * guard below a stack, a sub-region, and memory that unprivileged code cannot touch. Each probe breaks one rule once
 * and records what the MemManage handler sees.
 */
#include <stdint.h>

#include "faults.h"
#include "report.h"
#include "stm32mp15.h"
#include "vectors.h"

#define MPU_TYPE 0xe000ed90u
#define MPU_CTRL 0xe000ed94u
#define MPU_RBAR 0xe000ed9cu
#define MPU_RASR 0xe000eda0u
#define MPU_CTRL_ENABLE_PRIVDEFENA 5u
#define RBAR_VALID (1u << 4)
#define RASR_ENABLE 1u
#define RASR_SIZE(log2) (((log2) - 1u) << 1)
#define RASR_SRD(mask) ((mask) << 8)
#define RASR_NORMAL (1u << 17 | 1u << 18) /* C, S */
#define RASR_AP_PRIVILEGED (1u << 24)
#define RASR_AP_FULL (3u << 24)
#define RASR_AP_READ_ONLY (6u << 24)
#define RASR_XN (1u << 28)

#define LOG2_SIZE 8u /* 256 bytes: a region each, several in one page of the host's MMU */
#define WRITTEN 0x12345678u
#define UNREAD 0xffffffffu
#define BX_LR_TWICE 0x47704770u
#define RETRAM_SPARE 0x00000800u /* behind the vectors; nothing is loaded there */
#define WORDS (1u << (LOG2_SIZE - 2u))

/* Region 0 is all of the M4's SRAM; a region with a higher number goes before it. */
#define SRAM_BASE 0x10000000u
#define SRAM_LOG2_SIZE 19u

enum { READ_ONLY, GUARD, PRIVILEGED, NO_EXECUTE, HALF, BLOCKS };

/* What each probe left: MemManage faults taken, CFSR, MMFAR, and the word that the access was about. */
struct mpu_result {
    uint32_t faults, cfsr, mmfar, value;
};

enum probe {
    WRITE_READ_ONLY,
    READ_READ_ONLY,
    READ_GUARD,
    WRITE_PRIVILEGED,
    READ_UNPRIVILEGED,
    EXECUTE_DATA,
    READ_HALF,
    READ_OTHER_HALF,
    WRITE_BY_DEFAULT_MAP,
    WRITE_WITHOUT_MPU,
    PROBES
};

struct mpu_result mpu_results[PROBES];
volatile uint32_t mpu_type;

/* One block of memory for each region, next to each other. */
volatile uint32_t mpu_memory[BLOCKS][WORDS] __attribute__((aligned(1 << LOG2_SIZE)));

int main(void);

static void region(uint32_t number, const volatile void *base, uint32_t log2_size, uint32_t attributes)
{
    REG32(MPU_RBAR) = (uint32_t)(uintptr_t)base | RBAR_VALID | number;
    REG32(MPU_RASR) = attributes | RASR_NORMAL | RASR_SIZE(log2_size) | RASR_ENABLE;
}

static void block(uint32_t number, uint32_t attributes)
{
    region(1u + number, mpu_memory[number], LOG2_SIZE, attributes);
}

static void mpu_on(void)
{
    mpu_type = REG32(MPU_TYPE);
    region(0, (const void *)SRAM_BASE, SRAM_LOG2_SIZE, RASR_AP_FULL);
    block(READ_ONLY, RASR_AP_READ_ONLY);
    block(GUARD, 0);
    block(PRIVILEGED, RASR_AP_PRIVILEGED);
    block(NO_EXECUTE, RASR_AP_FULL | RASR_XN);
    block(HALF, RASR_SRD(0xf0u)); /* the upper half stays what region 0 says */
    REG32(MPU_CTRL) = MPU_CTRL_ENABLE_PRIVDEFENA;
    __asm volatile("dsb\n\tisb" ::: "memory");
}

/* Thread mode cannot make itself privileged again; SVC does it. */
static void become_unprivileged(void)
{
    __asm volatile("msr control, %0\n\tisb" : : "r"(1u) : "memory");
}

static void become_privileged(void)
{
    __asm volatile("svc #0" ::: "memory");
}

static void on_svc(void)
{
    __asm volatile("msr control, %0\n\tisb" : : "r"(0u) : "memory");
}

static void begin(void)
{
    fault_expected = 1;
    cosim_fault_count = 0;
    cosim_fault_cfsr = 0;
    cosim_fault_mmfar = 0;
}

static void end(enum probe probe, uint32_t value)
{
    fault_expected = 0;
    mpu_results[probe] = (struct mpu_result){ cosim_fault_count, cosim_fault_cfsr, cosim_fault_mmfar, value };
}

static void write(enum probe probe, volatile uint32_t *at)
{
    begin();
    *at = WRITTEN;
    end(probe, WRITTEN);
}

/* The value stays UNREAD when the handler steps over the load. */
static void read(enum probe probe, const volatile uint32_t *at)
{
    uint32_t value = UNREAD;

    begin();
    __asm volatile("ldr %0, [%1]" : "+r"(value) : "r"(at) : "memory");
    end(probe, value);
}

static void execute(enum probe probe, volatile uint32_t *at)
{
    *at = BX_LR_TWICE;
    __asm volatile("dsb\n\tisb" ::: "memory");
    begin();
    ((void (*)(void))((uintptr_t)at | 1u))();
    end(probe, 0);
}

int main(void)
{
    faults_enable();
    report_init();
    vectors_init();
    vectors_set(VECTOR_SVCALL, on_svc);
    for (uint32_t i = 0; i < BLOCKS; i++)
        mpu_memory[i][0] = mpu_memory[i][WORDS - 1u] = i;
    mpu_on();
    write(WRITE_READ_ONLY, &mpu_memory[READ_ONLY][0]);
    read(READ_READ_ONLY, &mpu_memory[READ_ONLY][0]);
    read(READ_GUARD, &mpu_memory[GUARD][WORDS - 1u]);
    write(WRITE_PRIVILEGED, &mpu_memory[PRIVILEGED][0]);
    become_unprivileged();
    read(READ_UNPRIVILEGED, &mpu_memory[PRIVILEGED][0]);
    become_privileged();
    execute(EXECUTE_DATA, &mpu_memory[NO_EXECUTE][0]);
    read(READ_HALF, &mpu_memory[HALF][0]);
    read(READ_OTHER_HALF, &mpu_memory[HALF][WORDS - 1u]);
    write(WRITE_BY_DEFAULT_MAP, &REG32(RETRAM_SPARE));
    REG32(MPU_CTRL) = 0;
    __asm volatile("dsb\n\tisb" ::: "memory");
    write(WRITE_WITHOUT_MPU, &mpu_memory[READ_ONLY][0]);
    trace_text("mpu: probes done\n");
    report_state(COPRO_STATE_RUN);
    for (;;)
        __asm volatile("wfi");
}
