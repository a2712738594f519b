/* safetensors_layout.h — what the writer and the reader of safetensors files must agree on.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_IO_SAFETENSORS_LAYOUT_H
#define FKMI_IO_SAFETENSORS_LAYOUT_H

#include "io/safetensors.h"

#define FKMI_TENSORS_HEADER_MAX ((int64_t)64 << 20)
/* the document, __metadata__ and its texts, and per tensor: itself, dtype, shape, offsets */
#define FKMI_TENSORS_NODES_MAX (2 + FKMI_TEXTS_MAX + FKMI_TENSORS_MAX * (4 + FKMI_TENSOR_DIMS_MAX + 2))
/* How our header begins; 64 hex digits follow. */
#define FKMI_TENSORS_FRONT       "{\"__metadata__\":{\"sha256\":\""
#define FKMI_TENSORS_FRONT_BYTES (sizeof FKMI_TENSORS_FRONT - 1)

extern const struct fkmi_tensor_type_row {
    const char *name; /* in the file */
    size_t size;      /* bytes of an element */
} fkmi_tensor_types[];
#define FKMI_N_TENSOR_TYPES 7

#endif
