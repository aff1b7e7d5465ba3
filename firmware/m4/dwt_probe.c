/*
 * Measures pieces of its own code with DWT_CYCCNT, as a firmware developer does on a board, and leaves a line with the
 * figure of each in the trace buffer. What the figures are made of: docs/timing.md.
 */
#include "faults.h"
#include "report.h"
#include "stm32mp15.h"
#include "vectors.h"

#define DEMCR 0xe000edfcu
#define DEMCR_TRCENA (1u << 24)
#define DWT_CTRL 0xe0001000u
#define DWT_CTRL_CYCCNTENA 1u

struct piece {
    const char *name;
    uint32_t (*run)(void);
};

extern const struct piece dwt_pieces[];
extern const struct piece dwt_pieces_end[];
void dwt_return(void);
int main(void);

static void decimal(uint32_t value)
{
    char digits[11];
    char *first = digits + sizeof(digits) - 1;

    *first = '\0';
    do {
        *--first = (char)('0' + value % 10u);
        value /= 10u;
    } while (value);
    trace_text(first);
}

int main(void)
{
    faults_enable();
    report_init();
    vectors_init();
    vectors_set(VECTOR_SVCALL, dwt_return);
    REG32(DEMCR) |= DEMCR_TRCENA;
    REG32(DWT_CTRL) |= DWT_CTRL_CYCCNTENA;
    /* The first is the empty piece. */
    uint32_t reading = dwt_pieces[0].run();
    for (const struct piece *piece = dwt_pieces + 1; piece != dwt_pieces_end; piece++) {
        uint32_t cycles = piece->run() - reading;

        trace_text(piece->name);
        trace_text(" ");
        decimal(cycles);
        trace_text("\n");
    }
    report_state(COPRO_STATE_RUN);
    for (;;)
        __asm volatile("wfi");
}
