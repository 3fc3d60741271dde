/* Allocation of the runtime's own memory (a VM's memory goes through its meter, vm/meter.h).
 *
 * These never return NULL: when the system has no memory left the process says so and ends,
 * and the supervisor starts it anew. Everything is freed with free().
 */
#pragma once

#include <stddef.h>

void *mem_alloc(size_t size);               /* zeroed */
void *mem_resize(void *block, size_t size); /* as realloc(); new bytes are not zeroed */
char *mem_copy(const char *text);           /* strdup; NULL gives NULL */
char *mem_copy_n(const char *text, size_t len);
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
