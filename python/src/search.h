/* search.h — approximate search by a Python object, for Context.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMPY_SEARCH_H
#define FKMPY_SEARCH_H

#include "module.h"

/* The context's models ask `search` (borrowed; it must live as long as they): build(points, k, dim) gives an index,
 * find(index, rows, n_rows, dim, n_wanted, n_threads, numbers) fills numbers. Points and rows are memory of float32, numbers of
 * int64. */
fkm_status fkmpy_search_set(fkm_context *context, PyObject *search);

#endif
