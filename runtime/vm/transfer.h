/* Values from one VM to another: plain data by copy, the rest by a reference that the caller makes.
 *
 * A table is plain when it has no metatable and holds no function itself; the rule holds for each
 * table, so a list of objects is a copied list of references. Cycles of plain tables stay
 * cycles. Runs inside vm_protect() on the receiving state and raises there; the giving state is
 * only read, without metamethods, and is not collected meanwhile by its memory budget.
 */
#pragma once

#include <stdbool.h>

#include <lua.h>

struct transfer {
    lua_State *from, *to;
    void *arg;
    /* Pushes on `to` what stands for the value at `index` (absolute) of `from`. */
    void (*reference)(struct transfer *transfer, int index);
    /* A table with a metatable that is plain all the same is copied, then marked. */
    bool (*is_marked)(lua_State *from, int index);
    void (*mark)(lua_State *to, int index);

    /* transfer_value()'s own */
    int seen; /* where on `to` the copies by address are; 0: none yet */
    unsigned depth;
};

/* Pushes the counterpart of the value at `index` of `from`. */
void transfer_value(struct transfer *transfer, int index);

/* Pushes `count` values from `first` on if all of them are scalars or strings, else pushes nothing
 * and returns false. Raises nothing while the budget of `to` is relaxed and its stack has room.
 */
bool transfer_scalars(lua_State *from, int first, int count, lua_State *to);

/* Whether the table at `index` crosses by reference. */
bool transfer_by_reference(const struct transfer *transfer, int index);
