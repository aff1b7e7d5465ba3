/*
 * The demo firmware: proves that it was loaded whole (data, bss, FPU, CRC of its own text), says so on USART3 and in
 * the trace buffer, reports "running" in TAMP BKP19R, then counts.
 * COSIM_VERSION is the version text, COSIM_COUNTS_PER_LINE how often the main loop says that it is alive;
 * COSIM_DDR_PROBE adds accesses to secure DDR, COSIM_NO_TABLE drops the resource table.
 */
#include <stdint.h>

#include "ddr_probe.h"
#include "faults.h"
#include "report.h"
#include "resource_table.h"
#include "stm32mp15.h"

#define DATA_PATTERN 0x600dda7au

extern const uint8_t __text_start[];
extern const uint8_t __text_end[];

/* How often the main loop ran; a monitor reads it to see that the firmware is alive. */
volatile uint32_t cosim_counter;

static volatile uint32_t data_word = DATA_PATTERN;
static volatile uint32_t bss_word;
static volatile float two = 2.0f;

int main(void);

static void check(const char *name, int passed)
{
    report_text("m4: ");
    report_text(name);
    report_text(passed ? " ok\n" : " FAILED\n");
}

/* CRC-32 (IEEE 802.3, as zlib.crc32 computes it). */
static uint32_t crc32(const uint8_t *start, const uint8_t *end)
{
    uint32_t table[16];
    uint32_t crc = 0xffffffffu;

    for (uint32_t i = 0; i < 16; i++) {
        uint32_t entry = i;
        for (int bit = 0; bit < 4; bit++)
            entry = (entry >> 1) ^ ((entry & 1u) ? 0xedb88320u : 0u);
        table[i] = entry;
    }
    for (; start != end; start++) {
        crc ^= *start;
        crc = (crc >> 4) ^ table[crc & 15u];
        crc = (crc >> 4) ^ table[crc & 15u];
    }
    return ~crc;
}

/* Newton's square root of 2, next to the FPU's own; both must end in the same bits. */
static void check_fpu(void)
{
    union {
        float value;
        uint32_t bits;
    } newton = {1.0f}, hardware;

    for (int i = 0; i < 6; i++)
        newton.value = 0.5f * (newton.value + two / newton.value);
    __asm volatile("vsqrt.f32 %0, %1" : "=t"(hardware.value) : "t"(two));
    report_text("m4: FPU square root of 2 = ");
    report_hex(newton.bits);
    report_text(newton.bits == hardware.bits && newton.bits == 0x3fb504f3u ? " ok\n" : " FAILED\n");
}

static void report_text_crc(void)
{
    report_text("m4: text at ");
    report_hex((uint32_t)__text_start);
    report_text(" size ");
    report_hex((uint32_t)(__text_end - __text_start));
    report_text(" CRC-32 ");
    report_hex(crc32(__text_start, __text_end));
    report_text("\n");
}

static void report_table(void)
{
#ifdef COSIM_NO_TABLE
    report_text("m4: no resource table\n");
#else
    report_text("m4: resource table at ");
    report_hex((uint32_t)&resource_table);
    report_text("\n");
#endif
}

int main(void)
{
    faults_enable();
    report_init();
    report_text("m4: remoteproc-cosim demo " COSIM_VERSION " on CPUID ");
    report_hex(REG32(SCB_CPUID));
    report_text("\n");
    check("data and bss", data_word == DATA_PATTERN && bss_word == 0);
    check_fpu();
    report_text_crc();
    report_table();
#ifdef COSIM_DDR_PROBE
    ddr_probe();
#endif
    report_text("m4: ready\n");
    report_state(COPRO_STATE_RUN);
    for (;;) {
        uint32_t count = cosim_counter + 1;

        cosim_counter = count;
        if (count % COSIM_COUNTS_PER_LINE == 0) {
            trace_text("m4: count ");
            trace_hex(count);
            trace_text("\n");
        }
    }
}
