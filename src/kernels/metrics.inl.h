/* metrics.inl.h — what a metric adds per coordinate, in registers: acc, row x, prototype p, weights a.
 * Included once per real type; expects BITS (32 or 64) and the lanes.
 * SPDX-License-Identifier: Apache-2.0 */
typedef VEC V(step_fn)(VEC acc, VEC x, VEC p, VEC a);

FKMI_INLINE VEC V(step_dot)(VEC acc, VEC x, VEC p, VEC a)
{
    (void)a;
    return V(fma)(x, p, acc);
}
FKMI_INLINE VEC V(step_dot_weighted)(VEC acc, VEC x, VEC p, VEC a) { return V(fma)(V(mul)(x, a), p, acc); }
FKMI_INLINE VEC V(step_euclidean)(VEC acc, VEC x, VEC p, VEC a)
{
    const VEC difference = V(sub)(x, p);
    (void)a;
    return V(fma)(difference, difference, acc);
}
FKMI_INLINE VEC V(step_euclidean_weighted)(VEC acc, VEC x, VEC p, VEC a)
{
    const VEC difference = V(sub)(x, p);
    return V(fma)(V(mul)(a, difference), difference, acc);
}
FKMI_INLINE VEC V(step_l1)(VEC acc, VEC x, VEC p, VEC a)
{
    (void)a;
    return V(add)(acc, V(abs)(V(sub)(x, p)));
}
FKMI_INLINE VEC V(step_l1_weighted)(VEC acc, VEC x, VEC p, VEC a)
{
    return V(fma)(a, V(abs)(V(sub)(x, p)), acc);
}
/* tiles keep scores, of which the largest is the nearest */
FKMI_INLINE VEC V(step_minus_l1)(VEC acc, VEC x, VEC p, VEC a)
{
    (void)a;
    return V(sub)(acc, V(abs)(V(sub)(x, p)));
}
FKMI_INLINE VEC V(step_minus_l1_weighted)(VEC acc, VEC x, VEC p, VEC a)
{
    return V(fnma)(a, V(abs)(V(sub)(x, p)), acc);
}
/* an entry of a sparse row against a prototype whose |p| is already in the bias */
FKMI_INLINE VEC V(step_minus_l1_entry)(VEC acc, VEC x, VEC p, VEC a)
{
    return V(fnma)(a, V(sub)(V(abs)(V(sub)(x, p)), V(abs)(p)), acc);
}
/* the same where the row's |x| is in the bias too: nothing for a prototype that is 0 there */
FKMI_INLINE VEC V(step_minus_l1_pair)(VEC acc, VEC x, VEC p, VEC a)
{
    (void)a;
    return V(sub)(acc, V(sub)(V(sub)(V(abs)(V(sub)(x, p)), V(abs)(p)), V(abs)(x)));
}
