-- Must be rejected: a theorem whose answer is not printed proves nothing to a reader.
prelude

inductive Absurd : Prop

axiom sorryAx (A : Prop) : A

theorem unproved (P : Type) (le : P → P → Prop) (x y : P) (xy : le x y) : Absurd :=
  sorryAx Absurd

#print axioms unproved
