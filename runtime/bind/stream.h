/* The streams of a VM, for those who end them. Not for Lua. */
#pragma once

struct vm;

/* Cuts what is being streamed and cancels its tasks with `reason`. A NULL vm has none. */
void bind_streams_cut(struct vm *vm, const char *reason);

/* The same for event streams alone, whose clients come back: they end, they are not cut. */
void bind_streams_end_events(struct vm *vm, const char *reason);
