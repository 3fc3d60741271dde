/* VMs that stay over their memory budget are rebuilt.
 *
 * An allocation that a VM is refused is an error in that VM alone, and mostly what filled the VM is
 * garbage after it. This looks, on a later turn and after a full collection, whether the VM is
 * still nearly full: then nothing in it will work any more, and its plugin is reloaded, at most
 * once in BUDGET_PAUSE_MS.
 */
#pragma once

struct instance;
struct vm;

enum { BUDGET_PAUSE_MS = 10000 };

/* For vm_options.denied; the VM's host is its instance. */
void budget_denied(struct vm *vm);

/* The instance is closing: nobody looks any more. */
void budget_forget(struct instance *instance);
