/*
 * Text output of the A7 client through UART4: see console.h.
 */
#include "console.h"

#include "fault.h"
#include "stm32mp15.h"

/* A UART that is not there must not hang the client. */
#define TXE_POLLS 100000u

void console_init(void)
{
    REG32(UART4_BASE + USART_CR1) |= USART_CR1_UE | USART_CR1_TE;
}

static void console_char(char c)
{
    for (uint32_t polls = TXE_POLLS; polls != 0 && fault.kind == FAULT_NONE; polls--) {
        if (REG32(UART4_BASE + USART_ISR) & USART_ISR_TXE) {
            REG32(UART4_BASE + USART_TDR) = (uint8_t)c;
            return;
        }
    }
}

void console_text(const char *text)
{
    for (uint32_t most = CONSOLE_MOST; most != 0 && fault.kind == FAULT_NONE; most--) {
        char c = *(const volatile char *)text++;

        if (c == '\0' || fault.kind != FAULT_NONE)
            return;
        console_char(c);
    }
}

void console_hex(uint32_t value)
{
    console_text("0x");
    for (int shift = 28; shift >= 0; shift -= 4)
        console_char("0123456789abcdef"[(value >> shift) & 15u]);
}

void console_decimal(uint32_t value)
{
    char digits[11];
    char *first = digits + sizeof(digits) - 1;

    *first = '\0';
    do {
        *--first = (char)('0' + value % 10u);
        value /= 10u;
    } while (value != 0);
    console_text(first);
}
