/*
 * Text output of the M4: USART3, the trace buffer that Linux reads through the TRACE entry, and the state word in TAMP.
 */
#ifndef COSIM_REPORT_H
#define COSIM_REPORT_H

#include <stdint.h>

#define TRACE_SIZE 2048u

/* The trace buffer: text, always NUL-terminated, that stops growing when full. */
extern volatile char cosim_trace[TRACE_SIZE];

/* Clear the trace buffer and switch USART3 on. */
void report_init(void);

/* Append to the trace buffer only. */
void trace_text(const char *text);
void trace_hex(uint32_t value);

/* Append to the trace buffer and send through USART3. */
void report_text(const char *text);
void report_hex(uint32_t value);

/* Tell the A7 side how the firmware is doing, as Cube's CoproSync does (TAMP BKP19R). */
void report_state(uint32_t state);

#endif
