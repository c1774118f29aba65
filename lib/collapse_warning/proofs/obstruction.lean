-- The no-progress obstruction (arXiv 2606.00329, Section 3), from the bare kernel: no library is
-- imported, so everything that is used stands in this file.
prelude

universe u

inductive Absurd : Prop

-- x < y, y ≤ z and z ≤ x cannot hold together in a preorder. "x < y" means that x is below y and y is
-- not below x; of the preorder only transitivity is used.
theorem obstruction (P : Type u) (le : P → P → Prop)
    (trans : (x y z : P) → le x y → le y z → le x z) (x y z : P)
    (strict : le y x → Absurd) (yz : le y z) (zx : le z x) : Absurd :=
  strict (trans y z x yz zx)

-- A path of weak steps, of any length, none included: what every relation holds for that is
-- reflexive and can be prolonged by a weak step at its start.
noncomputable def Path (P : Type u) (le : P → P → Prop) (x y : P) : Prop :=
  (R : P → P → Prop) → ((a : P) → R a a) → ((a b c : P) → le a b → R b c → R a c) → R x y

theorem path_is_below (P : Type u) (le : P → P → Prop) (refl : (x : P) → le x x)
    (trans : (x y z : P) → le x y → le y z → le x z) (x y : P)
    (path : Path P le x y) : le x y :=
  path le refl trans

-- A cycle of any length with one strict step is impossible.
theorem cycle (P : Type u) (le : P → P → Prop) (refl : (x : P) → le x x)
    (trans : (x y z : P) → le x y → le y z → le x z) (x y : P)
    (strict : le y x → Absurd) (back : Path P le y x) : Absurd :=
  strict (path_is_below P le refl trans y x back)

#print axioms obstruction
#print axioms cycle
