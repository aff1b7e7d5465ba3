/*
 * Vector table (0x0 in RETRAM, VTOR stays 0), reset handler and fault entry of the M4.
 * COSIM_NO_FPU leaves the FPU off, for programs that must not touch the system control space.
 */
    .file "startup.S"                /* else the temporary object lends its random name */
    .syntax unified
    .cpu cortex-m4
    .thumb

    .equ CPACR, 0xe000ed88
    .equ EXTERNAL_INTERRUPTS, 150

    .section .vectors, "a", %progbits
    .global cosim_vectors
    .type cosim_vectors, %object
cosim_vectors:
    .word __stack_top
    .word Reset_Handler
    .word fault_entry               /* NMI: nothing here raises one, so it is a crash as well */
    .word fault_entry               /* HardFault */
    .word fault_entry               /* MemManage */
    .word fault_entry               /* BusFault */
    .word fault_entry               /* UsageFault */
    .word 0, 0, 0, 0
    .word fault_entry               /* SVCall */
    .word fault_entry               /* DebugMonitor */
    .word 0
    .word fault_entry               /* PendSV */
    .word fault_entry               /* SysTick */
    .rept EXTERNAL_INTERRUPTS
    .word fault_entry
    .endr
    .size cosim_vectors, . - cosim_vectors

    .section .text.Reset_Handler, "ax", %progbits
    .global Reset_Handler
    .type Reset_Handler, %function
    .thumb_func
Reset_Handler:
    ldr r0, =__stack_top
    mov sp, r0
#ifndef COSIM_NO_FPU
    ldr r0, =CPACR
    ldr r1, [r0]
    orr r1, r1, #(0xf << 20)        /* full access to CP10 and CP11 */
    str r1, [r0]
    dsb
    isb
#endif
    ldr r0, =__data_start
    ldr r1, =__data_end
    ldr r2, =__data_load
    b 2f
1:  ldr r3, [r2], #4
    str r3, [r0], #4
2:  cmp r0, r1
    blo 1b
    ldr r0, =__bss_start
    ldr r1, =__bss_end
    movs r2, #0
    b 4f
3:  str r2, [r0], #4
4:  cmp r0, r1
    blo 3b
    bl main
5:  wfi
    b 5b
    .size Reset_Handler, . - Reset_Handler

    .section .text.fault_entry, "ax", %progbits
    .type fault_entry, %function
    .thumb_func
fault_entry:
    tst lr, #4
    ite eq
    mrseq r0, msp
    mrsne r0, psp
    mrs r1, ipsr
    b fault_handler                 /* LR still holds EXC_RETURN, so its return ends the exception */
    .size fault_entry, . - fault_entry
    .ltorg
