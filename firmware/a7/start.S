/*
 * Vectors, entry, exception entries, guarded call and SMC of the A7 client (ARM state, MMU off).
 */
    .file "start.S"                     /* else the temporary object lends its random name */
    .syntax unified
    .arch_extension sec
    .arm

    .equ MODE_FIQ, 0x11
    .equ MODE_IRQ, 0x12
    .equ MODE_SVC, 0x13
    .equ MODE_ABT, 0x17
    .equ MODE_UND, 0x1b
    .equ PSR_SVC_MASKED, 0xd3           /* SVC mode, ARM state, IRQ and FIQ masked */
    .equ KIND_DATA, 1
    .equ KIND_PREFETCH, 2
    .equ KIND_UNDEFINED, 3

    .section .vectors, "ax", %progbits
    .global _start
_start:
vectors:
    b reset
    b undefined_entry
    movs pc, lr                         /* SVC: nothing is served, go on behind it */
    b prefetch_entry
    b data_entry
    nop
    b irq_entry
    subs pc, lr, #4                     /* FIQ is masked; should one come, ignore it */

    .text
reset:
    cpsid if, #MODE_FIQ
    ldr sp, =__stack_fiq
    cps #MODE_IRQ
    ldr sp, =__stack_irq
    cps #MODE_ABT
    ldr sp, =__stack_abt
    cps #MODE_UND
    ldr sp, =__stack_und
    cps #MODE_SVC
    ldr sp, =__stack_svc
    ldr r0, =vectors
    mcr p15, 0, r0, c12, c0, 0          /* VBAR */
    isb
    ldr r0, =__bss_start
    ldr r1, =__bss_end
    mov r2, #0
    b 2f
1:  str r2, [r0], #4
2:  cmp r0, r1
    blo 1b
    cpsie a                             /* asynchronous external aborts are faults of a step as well */
    bl main
park:
    wfi
    b park

    .macro enter_handler kind
    push {r0-r3, r12, lr}
    mov r0, #\kind
    mov r1, lr
    mrs r2, spsr
    bl fault_taken
    .endm

undefined_entry:
    enter_handler KIND_UNDEFINED
    str r0, [sp, #20]
    pop {r0-r3, r12, lr}
    movs pc, lr

data_entry:
    enter_handler KIND_DATA
    str r0, [sp, #20]
    pop {r0-r3, r12, lr}
    movs pc, lr

prefetch_entry:
    enter_handler KIND_PREFETCH
    pop {r0-r3, r12, lr}
    mov lr, #PSR_SVC_MASKED
    msr spsr_cxsf, lr
    ldr lr, =call_abandon
    movs pc, lr

irq_entry:
    sub lr, lr, #4
    push {r0-r3, r12, lr}
    bl irq_taken
    ldm sp!, {r0-r3, r12, pc}^

/* uint32_t call_guarded(uint32_t address): bit 0 selects Thumb; a prefetch abort inside returns here with 0. */
    .global call_guarded
    .type call_guarded, %function
call_guarded:
    push {r3-r11, lr}
    ldr r1, =call_frame
    str sp, [r1]
    blx r0
call_return:
    ldr r1, =call_frame
    mov r2, #0
    str r2, [r1]
    pop {r3-r11, pc}
call_abandon:
    ldr r1, =call_frame
    ldr sp, [r1]
    cmp sp, #0
    beq park                            /* the client's own code is gone */
    mov r0, #0
    b call_return

/* void smc_call(uint32_t registers[8]): r0..r7 in, r0..r7 out. */
    .global smc_call
    .type smc_call, %function
smc_call:
    push {r4-r8, lr}
    mov r8, r0
    ldm r8, {r0-r7}
    smc #0
    stm r8, {r0-r7}
    pop {r4-r8, pc}

    .ltorg
    .bss
    .balign 4
call_frame:
    .space 4
