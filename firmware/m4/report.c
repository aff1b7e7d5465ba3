/*
 * Text output of the M4: see report.h.
 */
#include "report.h"

#include "stm32mp15.h"

/* 64 MHz HSI, which clocks USART3 on the ST boards, to 115200 baud. */
#define USART3_DIVIDER 556u

/* A UART that was taken away from the M4 reads as zero and would never be ready. */
#define TXE_POLLS 100000u

__attribute__((section(".trace"))) volatile char cosim_trace[TRACE_SIZE];
static uint32_t trace_used;

void report_init(void)
{
    for (uint32_t i = 0; i < TRACE_SIZE; i += 4)
        *(volatile uint32_t *)(cosim_trace + i) = 0;
    trace_used = 0;
    REG32(RCC_MC_APB1ENSETR) = RCC_APB1_USART3EN;
    REG32(USART3_BASE + USART_BRR) = USART3_DIVIDER;
    REG32(USART3_BASE + USART_CR1) = USART_CR1_UE | USART_CR1_TE;
}

static void trace_char(char c)
{
    if (trace_used < TRACE_SIZE - 1)
        cosim_trace[trace_used++] = c;
}

static void usart_char(char c)
{
    for (uint32_t polls = TXE_POLLS; polls != 0; polls--) {
        if (REG32(USART3_BASE + USART_ISR) & USART_ISR_TXE) {
            REG32(USART3_BASE + USART_TDR) = (uint8_t)c;
            return;
        }
    }
}

static const char *hex_text(uint32_t value, char text[11])
{
    text[0] = '0';
    text[1] = 'x';
    for (int digit = 0; digit < 8; digit++)
        text[2 + digit] = "0123456789abcdef"[(value >> (28 - 4 * digit)) & 15u];
    text[10] = '\0';
    return text;
}

void trace_text(const char *text)
{
    while (*text != '\0')
        trace_char(*text++);
}

void trace_hex(uint32_t value)
{
    char text[11];
    trace_text(hex_text(value, text));
}

void report_text(const char *text)
{
    trace_text(text);
    while (*text != '\0')
        usart_char(*text++);
}

void report_hex(uint32_t value)
{
    char text[11];
    report_text(hex_text(value, text));
}

void report_state(uint32_t state)
{
    /* Backup registers are write-protected without DBP; under TZEN it is the secure world that has to set it. */
    if (!(REG32(PWR_CR1) & PWR_CR1_DBP))
        REG32(PWR_CR1) |= PWR_CR1_DBP;
    REG32(TAMP_BKP19R) = state;
}
