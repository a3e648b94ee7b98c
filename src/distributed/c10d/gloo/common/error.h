// A stand-in for the header of this name of Gloo, which libtorch does not bring: what its own headers name of it, and nothing is made of it here.
#pragma once
