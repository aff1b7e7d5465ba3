"""Bare programs for the tests: machine code as the assembler made it, with its source beside."""

from __future__ import annotations

SECURE_DDR = 0xDE000000

#: Reset: ldr r0, =0xDE000000; ldr r1, [r0]; b .
READ_SECURE_DDR = bytes.fromhex("4ff05e400168fee7")
#: ldr r0, =0xDE000000; ldr r1, =0x12345678; strh r1, [r0, #6]; b .
STORE_HALFWORD = bytes.fromhex("4ff05e400149c180fee7000078563412")
#: ldr r2, =0xE000ED28; ldr r3, [r2] (CFSR); ldr r4, [r2, #4] (HFSR); ldr r5, [r2, #16] (BFAR); mrs r6, ipsr; b .
READ_FAULT_STATUS = bytes.fromhex("034a136854681569eff30586fee7000028ed00e0")
#: Counts its starts at 0x10000400, and asks for a reset by AIRCR.SYSRESETREQ until there were three.
RESET_ITSELF = bytes.fromhex("044a136801331360032bfeda024803490160fee7000400100ced00e00400fa05")
#: movs r1, #1; b back
LOOP_1 = bytes.fromhex("0121fde7")
MOVS_R1_2 = 0x2102
#: wfi; b back
SLEEP = bytes.fromhex("30bffde7")
#: movs r4, #7; ldr r0, =0x10000400; movw r2, #10000; ldrex r1, [r0]; 1: subs r2, #1; bne 1b; strex r4, r1, [r0]
#: 2: adds r5, #1; b 2b
LONG_EXCLUSIVE = bytes.fromhex("0724054842f2107250e8001f013afdd140e800140135fde700040010")

# For the A7; each returns what r0 is in the end. The function is PSCI_VERSION (0x84000000), the answer 0x00010000.
#: T32: movw/movt r0; smc #0; bx lr
T32_SMC = bytes.fromhex("40f20000c8f20040f0f700807047")
#: T32: movs r0, #7; cmp r0, r0; it ne; smcne #0; bx lr
T32_SMC_NOT_TAKEN = bytes.fromhex("0720804218bff0f700807047")
#: T32: movw/movt r0; cmp r0, r0; it eq; smceq #0; adds r0, #1; bx lr
T32_SMC_IN_IT_BLOCK = bytes.fromhex("40f20000c8f20040804208bff0f7008001307047")
#: A32: mov r0, #7; cmp r0, r0; smcne #0; bx lr
A32_SMC_NOT_TAKEN = bytes.fromhex("0700a0e3000050e1700060111eff2fe1")
#: cpsid i; enable IRQ 103 in NVIC_ISER3; then for ever: ldr r1, =SYST_CSR; ldr r2, =NVIC_ISPR3
WATCH_MASKED_IRQ_103 = bytes.fromhex("72b604488021c1604ff0e0200169d0f80c22fbe700e100e0")
