-- Must be rejected: if a miss may change the state, the next step need not miss.
prelude

universe u

theorem stateful_miss {S : Type u} (next : S → S) (misses : S → Prop) (s : S)
    (miss : misses s) : misses (next s) :=
  miss

#print axioms stateful_miss
