-- Must be rejected: without a strict step there is nothing to contradict.
prelude

inductive Absurd : Prop

theorem weak_cycle (P : Type) (le : P → P → Prop)
    (trans : (x y z : P) → le x y → le y z → le x z) (x y z : P)
    (xy : le x y) (yz : le y z) (zx : le z x) : Absurd :=
  trans y z x yz zx

#print axioms weak_cycle
