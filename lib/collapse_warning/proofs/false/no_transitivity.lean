-- Must be rejected: without transitivity the two weak steps do not compose.
prelude

inductive Absurd : Prop

theorem no_transitivity (P : Type) (le : P → P → Prop) (x y z : P)
    (strict : le y x → Absurd) (yz : le y z) (zx : le z x) : Absurd :=
  strict yz

#print axioms no_transitivity
