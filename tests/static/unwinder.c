/* What gcc's unwinder needs to work in a static program on musl. */
#define _GNU_SOURCE
#include <link.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/* glibc's, since gcc 12 the unwinder's only way to a frame: of the loaded object that has this address, its bounds
   and its .eh_frame_hdr. A static program is its own only object. */
struct dl_find_object {
    unsigned long long flags;
    void *map_start, *map_end;
    struct link_map *link_map;
    void *eh_frame;
    unsigned long long reserved[7];
};

struct search {
    uintptr_t address;
    struct dl_find_object *found;
};

static int look(struct dl_phdr_info *object, size_t size, void *data)
{
    struct search *search = data;
    void *eh_frame = NULL;
    int is_here = 0;
    (void)size;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        uintptr_t start = object->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_GNU_EH_FRAME)
            eh_frame = (void *)start;
        if (segment->p_type == PT_LOAD && search->address - start < segment->p_memsz) {
            search->found->map_start = (void *)start;
            search->found->map_end = (void *)(start + segment->p_memsz);
            is_here = 1;
        }
    }
    search->found->eh_frame = eh_frame;
    return is_here && eh_frame;
}

int _dl_find_object(void *address, struct dl_find_object *found)
{
    struct search search = { (uintptr_t)address, found };
    found->flags = 0;
    found->link_map = NULL;
    return dl_iterate_phdr(look, &search) ? 0 : -1;
}

/* The unwinder refers to these weakly, which takes nothing out of a static libc: without strong references it finds
   threads, because the rest of the program has them, and then calls address 0. */
const void *const unwinder_needs[] = {
    pthread_once,        pthread_mutex_lock,  pthread_mutex_unlock,
    pthread_key_create,  pthread_getspecific, pthread_setspecific,
};
