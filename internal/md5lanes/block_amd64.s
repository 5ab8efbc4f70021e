//go:build !purego

#include "textflag.h"

// The steps of MD5 (RFC 1321, 3.4) of two or three streams, in turns: those of one stream
// wait for each other, and meanwhile the processor does those of the others.
//
// The states of the streams are in AX BX CX DX, in SI DI R8 R9 and in R10 R11 R12 R13; their
// blocks are copied to 0(SP), 64(SP) and 128(SP), for want of registers that lead to them. R14
// is what a step needs beside, and between blocks how far they are; R15 leads to what is needed
// there.

// Each is a = b + ((a + f(b, c, d) + m + k) rotated left by s bits), with the f of its name.
// What waits for b, the outcome of the step before, comes as late as it can.

#define F(a, b, c, d, m, s, k) \
	ADDL m, a; \
	ADDL $k, a; \
	MOVL c, R14; \
	XORL d, R14; \
	ANDL b, R14; \
	XORL d, R14; \
	ADDL R14, a; \
	ROLL $s, a; \
	ADDL b, a

#define G(a, b, c, d, m, s, k) \
	ADDL m, a; \
	ADDL $k, a; \
	MOVL d, R14; \
	NOTL R14; \
	ANDL c, R14; \
	ADDL R14, a; \
	MOVL d, R14; \
	ANDL b, R14; \
	ADDL R14, a; \
	ROLL $s, a; \
	ADDL b, a

#define H(a, b, c, d, m, s, k) \
	ADDL m, a; \
	ADDL $k, a; \
	MOVL c, R14; \
	XORL d, R14; \
	XORL b, R14; \
	ADDL R14, a; \
	ROLL $s, a; \
	ADDL b, a

#define I(a, b, c, d, m, s, k) \
	ADDL m, a; \
	ADDL $k, a; \
	MOVL d, R14; \
	NOTL R14; \
	ORL b, R14; \
	XORL c, R14; \
	ADDL R14, a; \
	ROLL $s, a; \
	ADDL b, a

// STEPS are those of a block. A, D, C and B are the same step of each stream, and make that of
// its words anew.
#define STEPS \
	A(F, 0, 7, 0xd76aa478); \
	D(F, 1, 12, 0xe8c7b756); \
	C(F, 2, 17, 0x242070db); \
	B(F, 3, 22, 0xc1bdceee); \
	A(F, 4, 7, 0xf57c0faf); \
	D(F, 5, 12, 0x4787c62a); \
	C(F, 6, 17, 0xa8304613); \
	B(F, 7, 22, 0xfd469501); \
	A(F, 8, 7, 0x698098d8); \
	D(F, 9, 12, 0x8b44f7af); \
	C(F, 10, 17, 0xffff5bb1); \
	B(F, 11, 22, 0x895cd7be); \
	A(F, 12, 7, 0x6b901122); \
	D(F, 13, 12, 0xfd987193); \
	C(F, 14, 17, 0xa679438e); \
	B(F, 15, 22, 0x49b40821); \
	A(G, 1, 5, 0xf61e2562); \
	D(G, 6, 9, 0xc040b340); \
	C(G, 11, 14, 0x265e5a51); \
	B(G, 0, 20, 0xe9b6c7aa); \
	A(G, 5, 5, 0xd62f105d); \
	D(G, 10, 9, 0x02441453); \
	C(G, 15, 14, 0xd8a1e681); \
	B(G, 4, 20, 0xe7d3fbc8); \
	A(G, 9, 5, 0x21e1cde6); \
	D(G, 14, 9, 0xc33707d6); \
	C(G, 3, 14, 0xf4d50d87); \
	B(G, 8, 20, 0x455a14ed); \
	A(G, 13, 5, 0xa9e3e905); \
	D(G, 2, 9, 0xfcefa3f8); \
	C(G, 7, 14, 0x676f02d9); \
	B(G, 12, 20, 0x8d2a4c8a); \
	A(H, 5, 4, 0xfffa3942); \
	D(H, 8, 11, 0x8771f681); \
	C(H, 11, 16, 0x6d9d6122); \
	B(H, 14, 23, 0xfde5380c); \
	A(H, 1, 4, 0xa4beea44); \
	D(H, 4, 11, 0x4bdecfa9); \
	C(H, 7, 16, 0xf6bb4b60); \
	B(H, 10, 23, 0xbebfbc70); \
	A(H, 13, 4, 0x289b7ec6); \
	D(H, 0, 11, 0xeaa127fa); \
	C(H, 3, 16, 0xd4ef3085); \
	B(H, 6, 23, 0x04881d05); \
	A(H, 9, 4, 0xd9d4d039); \
	D(H, 12, 11, 0xe6db99e5); \
	C(H, 15, 16, 0x1fa27cf8); \
	B(H, 2, 23, 0xc4ac5665); \
	A(I, 0, 6, 0xf4292244); \
	D(I, 7, 10, 0x432aff97); \
	C(I, 14, 15, 0xab9423a7); \
	B(I, 5, 21, 0xfc93a039); \
	A(I, 12, 6, 0x655b59c3); \
	D(I, 3, 10, 0x8f0ccc92); \
	C(I, 10, 15, 0xffeff47d); \
	B(I, 1, 21, 0x85845dd1); \
	A(I, 8, 6, 0x6fa87e4f); \
	D(I, 15, 10, 0xfe2ce6e0); \
	C(I, 6, 15, 0xa3014314); \
	B(I, 13, 21, 0x4e0811a1); \
	A(I, 4, 6, 0xf7537e82); \
	D(I, 11, 10, 0xbd3af235); \
	C(I, 2, 15, 0x2ad7d2bb); \
	B(I, 9, 21, 0xeb86d391)


// COPY copies the block of a stream that is R14 bytes behind where its pointer leads.
#define COPY(stream) \
	MOVQ data+8(FP), R15; \
	MOVQ (8*stream)(R15), R15; \
	MOVOU 0(R15)(R14*1), X0; \
	MOVOU 16(R15)(R14*1), X1; \
	MOVOU 32(R15)(R14*1), X2; \
	MOVOU 48(R15)(R14*1), X3; \
	MOVOU X0, (64*stream)(SP); \
	MOVOU X1, (64*stream+16)(SP); \
	MOVOU X2, (64*stream+32)(SP); \
	MOVOU X3, (64*stream+48)(SP)

// LOAD takes the state of a stream from where R15 leads.
#define LOAD(stream, a, b, c, d) \
	MOVL (16*stream)(R15), a; \
	MOVL (16*stream+4)(R15), b; \
	MOVL (16*stream+8)(R15), c; \
	MOVL (16*stream+12)(R15), d

// ADD adds to it the state before the block, which is still there, and replaces that.
#define ADD(stream, a, b, c, d) \
	ADDL (16*stream)(R15), a; \
	ADDL (16*stream+4)(R15), b; \
	ADDL (16*stream+8)(R15), c; \
	ADDL (16*stream+12)(R15), d; \
	MOVL a, (16*stream)(R15); \
	MOVL b, (16*stream+4)(R15); \
	MOVL c, (16*stream+8)(R15); \
	MOVL d, (16*stream+12)(R15)

#define A(f, m, s, k) \
	f(AX, BX, CX, DX, (4*m)(SP), s, k); \
	f(SI, DI, R8, R9, (64+4*m)(SP), s, k)

#define D(f, m, s, k) \
	f(DX, AX, BX, CX, (4*m)(SP), s, k); \
	f(R9, SI, DI, R8, (64+4*m)(SP), s, k)

#define C(f, m, s, k) \
	f(CX, DX, AX, BX, (4*m)(SP), s, k); \
	f(R8, R9, SI, DI, (64+4*m)(SP), s, k)

#define B(f, m, s, k) \
	f(BX, CX, DX, AX, (4*m)(SP), s, k); \
	f(DI, R8, R9, SI, (64+4*m)(SP), s, k)

// func blocks2(states *[width][4]uint32, data *[width]*byte, blocks int)
TEXT ·blocks2(SB), NOSPLIT, $136-24
	MOVQ states+0(FP), R15
	LOAD(0, AX, BX, CX, DX)
	LOAD(1, SI, DI, R8, R9)
	XORQ R14, R14

block:
	MOVQ R14, 128(SP)
	COPY(0)
	COPY(1)
	STEPS
	MOVQ states+0(FP), R15
	ADD(0, AX, BX, CX, DX)
	ADD(1, SI, DI, R8, R9)
	MOVQ 128(SP), R14
	ADDQ $64, R14
	DECQ blocks+16(FP)
	JNZ  block
	RET

#undef A
#undef D
#undef C
#undef B

#define A(f, m, s, k) \
	f(AX, BX, CX, DX, (4*m)(SP), s, k); \
	f(SI, DI, R8, R9, (64+4*m)(SP), s, k); \
	f(R10, R11, R12, R13, (128+4*m)(SP), s, k)

#define D(f, m, s, k) \
	f(DX, AX, BX, CX, (4*m)(SP), s, k); \
	f(R9, SI, DI, R8, (64+4*m)(SP), s, k); \
	f(R13, R10, R11, R12, (128+4*m)(SP), s, k)

#define C(f, m, s, k) \
	f(CX, DX, AX, BX, (4*m)(SP), s, k); \
	f(R8, R9, SI, DI, (64+4*m)(SP), s, k); \
	f(R12, R13, R10, R11, (128+4*m)(SP), s, k)

#define B(f, m, s, k) \
	f(BX, CX, DX, AX, (4*m)(SP), s, k); \
	f(DI, R8, R9, SI, (64+4*m)(SP), s, k); \
	f(R11, R12, R13, R10, (128+4*m)(SP), s, k)

// func blocks3(states *[width][4]uint32, data *[width]*byte, blocks int)
TEXT ·blocks3(SB), NOSPLIT, $200-24
	MOVQ states+0(FP), R15
	LOAD(0, AX, BX, CX, DX)
	LOAD(1, SI, DI, R8, R9)
	LOAD(2, R10, R11, R12, R13)
	XORQ R14, R14

block:
	MOVQ R14, 192(SP)
	COPY(0)
	COPY(1)
	COPY(2)
	STEPS
	MOVQ states+0(FP), R15
	ADD(0, AX, BX, CX, DX)
	ADD(1, SI, DI, R8, R9)
	ADD(2, R10, R11, R12, R13)
	MOVQ 192(SP), R14
	ADDQ $64, R14
	DECQ blocks+16(FP)
	JNZ  block
	RET
