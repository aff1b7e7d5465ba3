/*
 * An echo on the console: each line that arrives on USART3 goes back with "echo: " before it. The receiver works by
 * interrupt; in between the core sleeps.
 */
#include <stdint.h>

#include "faults.h"
#include "report.h"
#include "stm32mp15.h"
#include "vectors.h"

#define USART3_IRQ 39u
#define LONGEST_LINE 64u

/* Bytes that arrived. */
volatile uint32_t cosim_counter;

static char line[LONGEST_LINE + 1];
static uint32_t used;

int main(void);

static void end_line(void)
{
    line[used] = '\0';
    used = 0;
    report_text("echo: ");
    report_text(line);
    report_text("\n");
}

static void received(void)
{
    while (REG32(USART3_BASE + USART_ISR) & USART_ISR_RXNE) {
        char c = (char)REG32(USART3_BASE + USART_RDR);

        cosim_counter++;
        if (c == '\n')
            end_line();
        else if (c != '\r' && used < LONGEST_LINE)
            line[used++] = c;
    }
}

int main(void)
{
    faults_enable();
    REG32(RCC_UART35CKSELR) = RCC_UART35_HSI;
    report_init();
    vectors_init();
    vectors_enable_irq(USART3_IRQ, received, 0);
    REG32(USART3_BASE + USART_CR1) = USART_CR1_UE | USART_CR1_TE | USART_CR1_RE | USART_CR1_RXNEIE;
    report_text("echo: ready\n");
    report_state(COPRO_STATE_RUN);
    for (;;)
        __asm volatile("wfi");
}
