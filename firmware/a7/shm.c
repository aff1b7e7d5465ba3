/*
 * Shared memory as the kernel's OP-TEE driver has it: registered pages, or the reserved memory. See shm.h.
 */
#include "shm.h"

#include "memory.h"
#include "message.h"
#include "steps.h"

#define OPTEE_SMC_EXCHANGE_CAPABILITIES 0xb2000009u
#define OPTEE_SMC_NSEC_CAP_UNIPROCESSOR 1u
#define OPTEE_SMC_SEC_CAP_HAVE_RESERVED_SHM (1u << 0)
#define OPTEE_SMC_SEC_CAP_DYNAMIC_SHM (1u << 2)

#define PAGE 4096u
#define LIST_ENTRIES (PAGE / 8 - 1)

/* A page of a page list: addresses of 4 KiB pages, and of the next page of the list. */
struct page_list {
    struct {
        uint32_t low, high;
    } pages[LIST_ENTRIES], next;
};

_Static_assert(sizeof(struct page_list) == PAGE, "layout of optee_msg.h");

/* Between bss and stacks, see a7.ld. */
extern volatile struct page_list page_lists[];
extern volatile struct page_list page_lists_end[];

static uint32_t capabilities;
static volatile struct page_list *next_list;
static uint32_t next_reserved;

void shm_begin(void)
{
    next_list = page_lists;
    next_reserved = SHM_BUFFERS;
}

/* What optee_probe does; a secure world that offers no shared memory is asked again next time. */
static int know_capabilities(struct shm_error *error)
{
    uint32_t r[8] = {OPTEE_SMC_EXCHANGE_CAPABILITIES, OPTEE_SMC_NSEC_CAP_UNIPROCESSOR, 0, 0, 0, 0, 0, 0};

    if (capabilities != 0)
        return 1;
    smc_call(r);
    if (r[0] == 0)
        capabilities = r[1] & (OPTEE_SMC_SEC_CAP_HAVE_RESERVED_SHM | OPTEE_SMC_SEC_CAP_DYNAMIC_SHM);
    error->smc = r[0] != 0 ? r[0] : OPTEE_SMC_RETURN_ENOTAVAIL;
    return capabilities != 0;
}

/* Write the page list of a buffer at next_list; returns its first page, or a null pointer when there is no room. */
static volatile struct page_list *list_pages(uint32_t address, uint32_t size)
{
    volatile struct page_list *first = next_list, *list = first;
    uint32_t page = address & ~(PAGE - 1), last = (address % PAGE + (size - 1) % PAGE) / PAGE + (size - 1) / PAGE;

    if (last / LIST_ENTRIES >= (uint32_t)(page_lists_end - first))
        return 0;
    for (uint32_t n = 0, entry = 0; n <= last; n++, entry++, page += PAGE) {
        if (entry == LIST_ENTRIES) {
            list->next.low = (uint32_t)(list + 1);
            list->next.high = 0;
            list++;
            entry = 0;
        }
        list->pages[entry].low = page;
        list->pages[entry].high = 0;
    }
    next_list = list + 1;
    return first;
}

static int share_pages(struct shm_buffer *buffer, uint32_t type, uint32_t size, struct shm_error *error)
{
    uint32_t list = (uint32_t)list_pages(buffer->address, size);

    if (list == 0) {
        error->smc = OPTEE_SMC_RETURN_ENOMEM;
        return 0;
    }
    message_start(OPTEE_MSG_CMD_REGISTER_SHM, 0, 0, 1);
    msg->params[0].attr = OPTEE_MSG_ATTR_TYPE_TMEM_OUTPUT | OPTEE_MSG_ATTR_NONCONTIG;
    msg->params[0].a = list | buffer->address % PAGE;
    msg->params[0].b = size;
    msg->params[0].c = list; /* no two buffers of a call share a list, so it serves as the reference */
    error->smc = message_call();
    error->ret = msg->ret;
    error->origin = msg->ret_origin;
    buffer->attr = type - TEE_PARAM_TYPE_MEMREF_INPUT + OPTEE_MSG_ATTR_TYPE_RMEM_INPUT;
    buffer->a = 0;
    buffer->c = list;
    return error->smc == 0 && error->ret == 0;
}

static int place_reserved(struct shm_buffer *buffer, uint32_t type, uint32_t size, struct shm_error *error)
{
    if (size > SHM_END - next_reserved) {
        error->smc = OPTEE_SMC_RETURN_ENOMEM;
        return 0;
    }
    buffer->a = buffer->c = next_reserved;
    if (type != TEE_PARAM_TYPE_MEMREF_OUTPUT)
        copy(next_reserved, buffer->address, size);
    next_reserved += (size + PAGE - 1) & ~(PAGE - 1);
    return 1;
}

int shm_share(struct shm_buffer *buffer, uint32_t type, uint32_t address, uint32_t size, struct shm_error *error)
{
    buffer->attr = type - TEE_PARAM_TYPE_MEMREF_INPUT + OPTEE_MSG_ATTR_TYPE_TMEM_INPUT;
    buffer->a = buffer->c = 0;
    buffer->b = size;
    buffer->address = size != 0 ? address : 0;
    if (buffer->address == 0)
        return 1;
    if (!know_capabilities(error))
        return 0;
    if (capabilities & OPTEE_SMC_SEC_CAP_DYNAMIC_SHM)
        return share_pages(buffer, type, size, error);
    return place_reserved(buffer, type, size, error);
}

static int is_registered(const struct shm_buffer *buffer)
{
    return buffer->attr >= OPTEE_MSG_ATTR_TYPE_RMEM_INPUT && buffer->attr <= OPTEE_MSG_ATTR_TYPE_RMEM_INOUT;
}

void shm_fetch(const struct shm_buffer *buffer, uint32_t written)
{
    if (buffer->address != 0 && !is_registered(buffer) && buffer->attr != OPTEE_MSG_ATTR_TYPE_TMEM_INPUT)
        copy(buffer->address, buffer->a, written < buffer->b ? written : buffer->b);
}

void shm_release(const struct shm_buffer *buffer)
{
    if (!is_registered(buffer))
        return;
    message_start(OPTEE_MSG_CMD_UNREGISTER_SHM, 0, 0, 1);
    msg->params[0].attr = OPTEE_MSG_ATTR_TYPE_RMEM_INPUT;
    msg->params[0].c = buffer->c;
    message_call();
}
