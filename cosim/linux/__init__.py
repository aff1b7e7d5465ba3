"""The Linux side as a model: remoteproc core, STM32 and TEE drivers, virtio rings and RPMsg, run by the host.

It makes its bus accesses as `a7-ns` and reaches the secure world through the same monitor as the A7 client. What it
does takes no virtual time; while it waits it lets the SoC run.
"""
