"""Register models of the blocks that decide about booting the Cortex-M4, and of the consoles and interrupts."""
