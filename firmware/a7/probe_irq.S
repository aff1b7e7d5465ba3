/*
 * Interrupts of the A7 measured: each entry probe_<name> brings interrupts about in one way, and the handlers record
 * what they find in probe_log. The interrupts are SGIs that the program sends to itself, so nothing but the core and its
 * GIC takes part. An entry is called by nobody: it is where the core is started, and it ends in a WFI at probe_end with
 * the GIC off and probe_done set.
 */
    .file "probe_irq.S"
    .syntax unified
    .arch_extension sec
    .arch_extension virt
    .arm

    .equ GICD, 0xa0021000
    .equ GICC, 0xa0022000
    .equ GICD_CTLR, 0x000
    .equ GICD_IGROUPR, 0x080
    .equ GICD_ISENABLER, 0x100
    .equ GICD_IPRIORITYR, 0x400
    .equ GICD_SGIR, 0xf00
    .equ GICD_CPENDSGIR, 0xf10
    .equ GICC_CTLR, 0x00
    .equ GICC_PMR, 0x04
    .equ GICC_IAR, 0x0c
    .equ GICC_EOIR, 0x10

    .equ IPCC_C1CR, 0x4c001000
    .equ IPCC_ID, 132                   /* SPI 100: IPCC RX0 */

    .equ MODE_USR, 0x10
    .equ MODE_FIQ, 0x11
    .equ MODE_IRQ, 0x12
    .equ MODE_SVC, 0x13
    .equ MODE_UND, 0x1b
    .equ SVC_OPEN, 0x53                 /* SVC mode, FIQ masked */
    .equ SGI_SELF, 2 << 24

    .equ RECORD_WORDS, 4
    .equ RECORDS, 8

    .section .vectors, "ax", %progbits
    .global _start
_start:
vectors:
    b .
    b undefined_entry
    b probe_end                         /* SVC: a probe in User mode is over */
    b .
    b .
    nop
    b irq_entry
    b fiq_entry

    .balign 32
    .thumb
thumb_vectors:
    b.w .
    b.w .
    b.w .
    b.w .
    b.w .
    nop.w
    b.w thumb_irq_entry
    b.w .
    .arm

    .text

    /* Acknowledge, record, end; what lies at probe_twist is done between the first two. */
irq_entry:
    sub lr, lr, #4
    push {r0-r5, r12, lr}
    ldr r4, =GICC
    ldr r0, =probe_twist
    ldr r0, [r0]
    cmp r0, #0
    bxne r0
irq_acknowledge:
    ldr r5, [r4, #GICC_IAR]
    mov r1, r5
    bl record_irq
    ldr r0, =probe_nest
    ldr r0, [r0]
    cmp r0, #0
    bne irq_nest
irq_end:
    mov r0, #0
    mcr p15, 0, r0, c14, c2, 1          /* CNTP_CTL: the timer's line falls */
    ldr r1, =IPCC_C1CR
    mov r0, #1
    cmp r5, #IPCC_ID
    streq r0, [r1, #8]                  /* C1SCR: channel 1 is free again */
    str r5, [r4, #GICC_EOIR]
    ldm sp!, {r0-r5, r12, pc}^

    /* LR of this mode holds the return address of the call; the interrupted one is on the stack. */
record_irq:
    ldr r2, =probe_count
    ldr r3, [r2]
    add r0, r3, #1
    str r0, [r2]
    cmp r3, #RECORDS
    bxhs lr
    ldr r2, =probe_log
    add r2, r2, r3, lsl #4
    str r1, [r2]
    ldr r0, [sp, #28]
    str r0, [r2, #4]
    mrs r0, spsr
    str r0, [r2, #8]
    mrs r0, cpsr
    str r0, [r2, #12]
    bx lr

    /* Once: send interrupt probe_nest, open the door to it in SVC mode, and record 0x1000 behind it. */
irq_nest:
    mov r1, #0
    ldr r2, =probe_nest
    str r1, [r2]
    mrs r3, spsr
    push {r3, r12}
    cps #MODE_SVC
    push {r4, r5, r12, lr}
    ldr r1, =GICD
    orr r0, r0, #SGI_SELF
    str r0, [r1, #GICD_SGIR]
    cpsie i
    nop
    cpsid i
    pop {r4, r5, r12, lr}
    cps #MODE_IRQ
    pop {r3, r12}
    msr spsr_cxsf, r3
    mov r1, #0x1000
    bl record_irq
    b irq_end

    /* The interrupt vanishes before it is acknowledged. */
twist_vanish:
    ldr r0, =GICD + GICD_CPENDSGIR
    mvn r1, #0
    str r1, [r0]
    str r1, [r0, #4]
    b irq_acknowledge

twist_return:
    ldm sp!, {r0-r5, r12, pc}^

    /* r8 to r12 are banked: nothing is saved. */
fiq_entry:
    sub lr, lr, #4
    ldr r8, =GICC
    ldr r9, [r8, #GICC_IAR]
    ldr r10, =probe_count
    ldr r11, [r10]
    add r12, r11, #1
    str r12, [r10]
    ldr r10, =probe_log
    add r10, r10, r11, lsl #4
    orr r12, r9, #0x2000
    str r12, [r10]
    str lr, [r10, #4]
    mrs r12, spsr
    str r12, [r10, #8]
    mrs r12, cpsr
    str r12, [r10, #12]
    str r9, [r8, #GICC_EOIR]
    movs pc, lr

undefined_entry:
    push {r0-r3, r12, lr}
    ldr r1, =probe_undefined
    ldr r0, [r1]
    add r0, r0, #1
    str r0, [r1]
    pop {r0-r3, r12, lr}
    movs pc, lr                         /* the next ARM instruction */

    .thumb
    .thumb_func
thumb_irq_entry:
    subs lr, #4
    push {r0-r5, r7, lr}
    ldr r4, =GICC
    ldr r5, [r4, #GICC_IAR]
    add r1, r5, #0x4000                 /* by this handler */
    blx record_irq
    str r5, [r4, #GICC_EOIR]
    pop {r0-r5, r7, lr}
    subs pc, lr, #0
    .ltorg
    .arm

    /* Stacks, vectors, GIC with every SGI at priority 0xa0; r4 is GICD, r5 GICC. IRQ and FIQ stay masked. */
set_up:
    mov r12, lr
    cpsid if, #MODE_FIQ
    ldr sp, =__stack_fiq
    cps #MODE_IRQ
    ldr sp, =__stack_irq
    cps #MODE_UND
    ldr sp, =__stack_und
    cps #MODE_SVC
    ldr sp, =__stack_svc
    ldr r0, =vectors
    mcr p15, 0, r0, c12, c0, 0
    ldr r0, =__bss_start
    ldr r1, =__bss_end
    mov r2, #0
2:  str r2, [r0], #4
    cmp r0, r1
    blo 2b
    ldr r4, =GICD
    ldr r5, =GICC
    ldr r0, =0xa0a0a0a0
    add r1, r4, #GICD_IPRIORITYR
    str r0, [r1]
    str r0, [r1, #4]
    mov r0, #0xf8
    str r0, [r5, #GICC_PMR]
    mov r0, #1
    str r0, [r5, #GICC_CTLR]
    str r0, [r4, #GICD_CTLR]
    mov r6, #0
    bx r12

    .global probe_end
probe_end:
    cpsid if, #MODE_SVC
    mov r0, #0
    ldr r4, =GICD
    ldr r5, =GICC
    str r0, [r4, #GICD_CTLR]
    str r0, [r5, #GICC_CTLR]
    ldr r1, =probe_value
    str r6, [r1]
    mov r0, #1
    ldr r1, =probe_done
    str r0, [r1]
3:  wfi
    b 3b

    .macro probe name
    .ltorg
    .global probe_\name
probe_\name:
    bl set_up
    .endm

    .macro send number
    ldr r0, =SGI_SELF | \number
    str r0, [r4, #GICD_SGIR]
    .endm

    .macro priority number, value
    mov r0, #\value
    strb r0, [r4, #GICD_IPRIORITYR + \number]
    .endm

    .macro at name
    .global at_\name
at_\name:
    .endm

/* One pending interrupt, and one instruction that unmasks it: it is taken at at_<name>. */

    probe cps
    send 1
    cpsie i
    at cps
    b probe_end

    probe msr_register
    send 1
    mrs r1, cpsr
    bic r1, r1, #0x80
    msr cpsr_c, r1
    at msr_register
    b probe_end

    probe msr_immediate
    send 1
    msr cpsr_c, #SVC_OPEN
    at msr_immediate
    b probe_end

    probe rfe
    send 1
    ldr r1, =at_rfe
    mov r2, #SVC_OPEN
    push {r1, r2}
    rfeia sp!
    nop
    at rfe
    b probe_end

    probe subs_pc_lr
    send 1
    cps #MODE_IRQ
    mov r1, #SVC_OPEN
    msr spsr_cxsf, r1
    ldr lr, =at_subs_pc_lr + 4
    subs pc, lr, #4
    at subs_pc_lr
    b probe_end

    probe movs_pc_lr
    send 1
    cps #MODE_IRQ
    mov r1, #SVC_OPEN
    msr spsr_cxsf, r1
    ldr lr, =at_movs_pc_lr
    movs pc, lr
    at movs_pc_lr
    b probe_end

    probe ldm_user
    send 1
    cps #MODE_IRQ
    mov r1, #SVC_OPEN
    msr spsr_cxsf, r1
    ldr r1, =at_ldm_user
    push {r1}
    ldm sp!, {pc}^
    at ldm_user
    b probe_end

    probe thumb_cps
    send 1
    blx 4f
    b probe_end
    .thumb
    .balign 4
4:  cpsie i
    at thumb_cps
    bx lr
    .arm

    probe thumb_cps_wide
    send 1
    blx 4f
    b probe_end
    .thumb
    .balign 4
4:  cpsie.w i
    at thumb_cps_wide
    bx lr
    .arm

    probe thumb_msr
    send 1
    mrs r1, cpsr
    bic r1, r1, #0x80
    blx 4f
    b probe_end
    .thumb
    .balign 4
4:  msr cpsr_c, r1
    at thumb_msr
    bx lr
    .arm

    probe thumb_subs_pc_lr
    send 1
    cps #MODE_IRQ
    mov r1, #SVC_OPEN
    msr spsr_cxsf, r1
    ldr lr, =at_thumb_subs_pc_lr + 8
    blx 4f
    .thumb
    .balign 4
4:  ldr lr, =at_thumb_subs_pc_lr + 8
    subs pc, lr, #8
    .ltorg
    .arm
    .balign 4
    at thumb_subs_pc_lr
    b probe_end

    probe thumb_rfe
    send 1
    ldr r1, =at_thumb_rfe
    mov r2, #SVC_OPEN
    push {r1, r2}
    blx 4f
    .thumb
    .balign 4
4:  rfeia sp!
    .arm
    .balign 4
    at thumb_rfe
    b probe_end

/* IRQ is open: the store that sends the interrupt is the last instruction before it. */
    probe open
    cpsie i
    ldr r0, =SGI_SELF | 1
    str r0, [r4, #GICD_SGIR]
    at open
    b probe_end

/* Masked: nothing is taken, WFI does not sleep, and a window of one instruction is enough. */
    probe masked
    send 1
    nop
    wfi
    add r6, r6, #1
    cpsie i
    at masked
    cpsid i
    b probe_end

/* A condition that fails, or an unmasking that is none: nothing is taken before at_idle. */
    probe idle
    send 1
    cmp r4, #0
    mrs r1, cpsr
    bic r1, r1, #0x80
    msreq cpsr_c, r1
    msr cpsr_f, #0x80000000
    cpsie f
    cpsid f
    nop
    cpsie i
    at idle
    b probe_end

/* Three pending ones go by priority. */
    probe priorities
    priority 1, 0xa0
    priority 2, 0x40
    priority 3, 0x80
    send 1
    send 2
    send 3
    cpsie i
    nop
    b probe_end

/* Below GICC_PMR. */
    probe pmr
    mov r0, #0xa0
    str r0, [r5, #GICC_PMR]
    send 1
    cpsie i
    nop
    mov r0, #0xa8
    str r0, [r5, #GICC_PMR]
    at pmr
    b probe_end

/* The handler of 1 opens the door; 2 comes through it when it is more urgent. */
    probe nested
    priority 2, 0x40
    ldr r0, =probe_nest
    mov r1, #2
    str r1, [r0]
    send 1
    cpsie i
    at nested
    b probe_end

    probe not_nested
    ldr r0, =probe_nest
    mov r1, #2
    str r1, [r0]
    send 1
    cpsie i
    at not_nested
    b probe_end

    probe spurious
    ldr r0, =probe_twist
    ldr r1, =twist_vanish
    str r1, [r0]
    send 1
    cpsie i
    at spurious
    b probe_end

/* Group 0 as FIQ, group 1 as IRQ; the FIQ comes first when both are open, and has registers of its own. */
    .macro two_groups
    mov r0, #2                          /* interrupt 1 into group 1 */
    str r0, [r4, #GICD_IGROUPR]
    mov r0, #0x0f                       /* both groups, AckCtl, FIQEn */
    str r0, [r5, #GICC_CTLR]
    mov r0, #3
    str r0, [r4, #GICD_CTLR]
    priority 2, 0x40
    .endm

    probe fiq
    two_groups
    mov r8, #0x8
    send 1
    send 2
    cpsie f
    at fiq
    cpsie i
    at fiq_irq
    mov r6, r8
    b probe_end

    probe fiq_masked
    two_groups
    send 2
    cpsie i
    nop
    cpsie f
    at fiq_masked
    b probe_end

/* Vectors in Thumb state by SCTLR.TE, and at 0xffff0000 by SCTLR.V. */
    probe thumb_vectors
    ldr r0, =thumb_vectors
    mcr p15, 0, r0, c12, c0, 0
    mrc p15, 0, r0, c1, c0, 0
    orr r0, r0, #1 << 30
    mcr p15, 0, r0, c1, c0, 0
    isb
    send 1
    cpsie i
    at thumb_vectors
    b probe_end

    probe high_vectors
    mrc p15, 0, r0, c1, c0, 0
    orr r0, r0, #1 << 13
    mcr p15, 0, r0, c1, c0, 0
    isb
    send 1
    cpsie i
    b probe_end

/* WFE: an event makes the next one pass, then an interrupt that is open ends it; r6 counts what was passed. */
    probe wfe
    sev
    wfe
    add r6, r6, #1
    cpsie i
    mov r0, #0x34                       /* event stream: rising edges of bit 3 */
    mcr p15, 0, r0, c14, c1, 0
    wfe
    add r6, r6, #1
    mrrc p15, 1, r0, r1, c14
    ldr r2, =probe_ticks
    str r0, [r2]
    mov r0, #0xc4                       /* a slow stream, which the interrupt is to outrun */
    mcr p15, 0, r0, c14, c1, 0
    mov r0, #1 << 30
    ldr r1, =GICD + GICD_ISENABLER
    str r0, [r1]
    mov r0, #24
    mcr p15, 0, r0, c14, c2, 0          /* CNTP_TVAL */
    mov r0, #1
    mcr p15, 0, r0, c14, c2, 1          /* CNTP_CTL */
    wfe
    at wfe
    add r6, r6, #1
    b probe_end

/* Six messages of the other core, whenever it sends them: to a core at work, behind a mask, asleep. */
    .macro listen
    ldr r1, =IPCC_C1CR
    mov r0, #1
    str r0, [r1]                        /* RXOIE */
    mvn r0, #1
    str r0, [r1, #4]                    /* C1MR: channel 1 */
    mov r0, #1
    add r1, r4, #0x800                  /* GICD_ITARGETSR */
    strb r0, [r1, #IPCC_ID]
    mov r0, #1 << (IPCC_ID % 32)
    ldr r1, =GICD + GICD_ISENABLER
    str r0, [r1, #4 * (IPCC_ID / 32)]
    ldr r2, =probe_count
    .endm

    probe ipcc_at_work
    listen
    cpsie i
7:  add r6, r6, #1
    ldr r0, [r2]
    cmp r0, #6
    blo 7b
    b probe_end

    probe ipcc_masked
    listen
7:  mov r3, #37
8:  subs r3, r3, #1
    bne 8b
    add r6, r6, #1
    cpsie i
    at ipcc_masked
    cpsid i
    ldr r0, [r2]
    cmp r0, #6
    blo 7b
    b probe_end

    probe ipcc_asleep
    listen
7:  wfi
    add r6, r6, #1
    cpsie i
    at ipcc_asleep
    cpsid i
    ldr r0, [r2]
    cmp r0, #6
    blo 7b
    b probe_end

/* The handler neither acknowledges nor ends: the interrupt comes again for ever. */
    probe storm
    ldr r0, =probe_twist
    ldr r1, =twist_return
    str r1, [r0]
    send 1
    cpsie i
    b probe_end

/* The generic timer: both encodings, conditions, IT blocks; r6 is CNTP_CTL at the end. */
    probe timer
    ldr r2, =probe_ticks
    mrc p15, 0, r0, c14, c0, 0
    str r0, [r2]
    mrrc p15, 0, r0, r1, c14
    str r0, [r2, #4]
    mov r3, #200
5:  subs r3, r3, #1
    bne 5b
    mrrc p15, 1, r0, r1, c14
    str r0, [r2, #8]
    mvn r0, #0
    mcr p15, 0, r0, c14, c2, 0          /* CNTP_TVAL = -1: the condition holds */
    mov r0, #3                          /* masked */
    cmp r0, #3
    mcrne p15, 0, r0, c14, c3, 1        /* CNTV_CTL: not executed */
    mcreq p15, 0, r0, c14, c2, 1        /* CNTP_CTL: executed */
    mrc p15, 0, r0, c14, c3, 1
    str r0, [r2, #12]
    blx 6f
    b probe_end
    .thumb
    .balign 4
6:  mrc p15, 0, r1, c14, c2, 1
    movs r6, #0
    cmp r1, #7
    itte eq
    mrceq p15, 0, r6, c14, c2, 1
    addeq r6, r6, #0x10
    mrcne p15, 0, r6, c14, c3, 1
    movs r0, #0x55
    movs r1, #0
    mcrr p15, 3, r0, r1, c14            /* CNTV_CVAL, and back into r3 */
    mrrc p15, 3, r3, r1, c14
    str r3, [r2, #16]
    bx lr
    .arm

/* WFI just before or just after a message comes: the delay behind each message grows by 30 instructions. */
    probe ipcc_near
    listen
    ldr r7, =4640
7:  wfi
    add r6, r6, #1
    cpsie i
    nop
    cpsid i
    mov r3, r7
8:  subs r3, r3, #1
    bne 8b
    add r7, r7, #15
    ldr r0, [r2]
    cmp r0, #8
    blo 7b
    b probe_end

/* The core's own timer raises its interrupt just before or behind a message, which is the more urgent one. */
    probe ipcc_and_timer
    listen
    mov r0, #0x40
    add r1, r4, #GICD_IPRIORITYR
    strb r0, [r1, #IPCC_ID]
    mov r0, #1 << 30
    ldr r1, =GICD + GICD_ISENABLER
    str r0, [r1]
    ldr r7, =4580
    cpsie i
7:  ldr r6, [r2]
8:  ldr r0, [r2]
    cmp r0, r6
    beq 8b
    mov r3, r7
9:  subs r3, r3, #1
    bne 9b
    add r7, r7, #15
    mov r0, #1
    mcr p15, 0, r0, c14, c2, 1          /* CNTP_CTL; CNTP_CVAL is 0 */
    ldr r0, [r2]
    cmp r0, #24
    blo 7b
    b probe_end

/* An interrupt that comes and is masked ends WFI, but no WFE: that one is left to the event stream. */
    probe wfe_masked
    mov r0, #1 << 30
    ldr r1, =GICD + GICD_ISENABLER
    str r0, [r1]
    mov r0, #24
    mcr p15, 0, r0, c14, c2, 0          /* CNTP_TVAL */
    mov r0, #1
    mcr p15, 0, r0, c14, c2, 1          /* CNTP_CTL */
    mov r0, #0x94                       /* event stream: rising edges of bit 9 */
    mcr p15, 0, r0, c14, c1, 0
    wfe
    mrrc p15, 1, r0, r1, c14
    ldr r2, =probe_ticks
    str r0, [r2]
    mov r0, #0
    mcr p15, 0, r0, c14, c1, 0
    cpsie i
    at wfe_masked
    b probe_end

/* The timer interrupts a core at work; probe_ticks is the compare value. */
    probe timer_at_work
    mov r0, #1 << 30
    ldr r1, =GICD + GICD_ISENABLER
    str r0, [r1]
    cpsie i
    mov r0, #241
    mcr p15, 0, r0, c14, c2, 0          /* CNTP_TVAL */
    mrrc p15, 2, r0, r1, c14            /* CNTP_CVAL */
    ldr r2, =probe_ticks
    str r0, [r2]
    mov r0, #1
    mcr p15, 0, r0, c14, c2, 1          /* CNTP_CTL */
    ldr r2, =probe_count
7:  ldr r0, [r2]
    cmp r0, #0
    beq 7b
    b probe_end

/* The cycle counter of the performance monitors counts instructions: 204 from the first read to the second. */
    probe cycles
    ldr r2, =probe_ticks
    mrc p15, 0, r0, c9, c12, 0          /* PMCR */
    str r0, [r2]
    mov r0, #1 << 31
    mcr p15, 0, r0, c9, c12, 1          /* PMCNTENSET */
    mov r0, #5
    mcr p15, 0, r0, c9, c12, 0          /* PMCR.E, C */
    mrc p15, 0, r1, c9, c13, 0
    mov r3, #100
9:  subs r3, r3, #1
    bne 9b
    nop
    nop
    mrc p15, 0, r0, c9, c13, 0
    sub r6, r0, r1
    mov r0, #0
    mcr p15, 0, r0, c9, c12, 0          /* stopped */
    mrc p15, 0, r0, c9, c13, 0
    str r0, [r2, #4]
    nop
    mrc p15, 0, r0, c9, c13, 0
    str r0, [r2, #8]
    cps #MODE_USR
    mrc p15, 0, r0, c9, c13, 0          /* undefined: no PMUSERENR.EN */
    svc #0

/* PL0 has nothing of the timer until CNTKCTL says so; what is refused is undefined. */
    probe timer_user
    cps #MODE_USR
    mrrc p15, 1, r0, r1, c14            /* undefined */
    mrc p15, 0, r0, c14, c2, 1          /* undefined */
    cps #MODE_SVC                       /* no effect in User mode */
    svc #0

    probe timer_user_allowed
    ldr r0, =0x302                      /* PL0VCTEN, PL0VTEN, PL0PTEN */
    mcr p15, 0, r0, c14, c1, 0
    cps #MODE_USR
    mrrc p15, 1, r0, r1, c14
    mrc p15, 0, r0, c14, c0, 0
    mrc p15, 0, r0, c14, c2, 1
    mrc p15, 0, r0, c14, c3, 0
    mrrc p15, 0, r0, r1, c14            /* undefined: no PL0PCTEN */
    mrc p15, 0, r0, c14, c1, 0          /* undefined: CNTKCTL is PL1's */
    svc #0

/* What no software at PL1 has: CNTFRQ, CNTPCT and CNTVOFF cannot be written, Hyp's registers are not there. */
    probe timer_undefined
    mcr p15, 0, r0, c14, c0, 0
    mcrr p15, 0, r0, r1, c14
    mcrr p15, 4, r0, r1, c14
    mrc p15, 4, r0, c14, c1, 0
    b probe_end
    .ltorg

    .bss
    .balign 16
    .global probe_log, probe_count, probe_done, probe_value, probe_ticks, probe_undefined
probe_log:
    .space 4 * RECORD_WORDS * RECORDS
probe_count:
    .space 4
probe_done:
    .space 4
probe_value:
    .space 4
probe_undefined:
    .space 4
probe_ticks:
    .space 20
probe_twist:
    .space 4
probe_nest:
    .space 4
