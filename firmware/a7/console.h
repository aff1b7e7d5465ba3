/*
 * Text output of the A7 client through UART4, the console of the ST boards.
 */
#ifndef COSIM_A7_CONSOLE_H
#define COSIM_A7_CONSOLE_H

#include <stdint.h>

/* Switch UART4's transmitter on; its clock and baud rate are the boot loader's business. */
void console_init(void);

/* Write a NUL-terminated text, at most CONSOLE_MOST characters of it. */
#define CONSOLE_MOST 4096u
void console_text(const char *text);

/* Write 0x and eight hexadecimal digits. */
void console_hex(uint32_t value);

/* Write a number in decimal. */
void console_decimal(uint32_t value);

#endif
