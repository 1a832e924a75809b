# A C project is built with four jobs, and built again after changes, of which make judges by times.
cc=${CC:-tcc}
mkdir "$dir/p"
cd "$dir/p"
echo '#define START 7' >common.h
for i in $(seq "$size"); do
	printf '#include "common.h"\nint f%d(int x)\n{\n\tint i, sum = START;\n\tfor (i = 0; i < x; i++) sum += i %% %d;\n\treturn sum;\n}\n' "$i" "$i" >"f$i.c"
done
{
	echo 'extern int printf(const char *, ...);'
	for i in $(seq "$size"); do echo "int f$i(int);"; done
	echo 'int main(void) { long t = 0;'
	for i in $(seq "$size"); do echo "t += f$i($i);"; done
	printf '%s\n' 'printf("%ld\n", t); return 0; }'
} >main.c
printf 'OBJ = main.o %s\nprog: $(OBJ)\n\t%s -o $@ $(OBJ)\n%%.o: %%.c common.h\n\t%s -c -o $@ $<\nclean:\n\trm -f prog $(OBJ)\n' \
	"$(seq -s ' ' -f 'f%.0f.o' "$size")" "$cc" "$cc" >Makefile

build() {
	make -j4 >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
	# Client and server are two machines with two clocks, which may be apart by the milliseconds that ntpd leaves; not by more.
	awk '/modification time/ && $(NF - 4) >= 0.1 || /[Ww]arning/ && !/skew|modification time/' "$scratch/log"
	echo "$1: $(grep -c -e "^$cc -c" "$scratch/log" || true) compiled, $(grep -c -e "^$cc -o prog" "$scratch/log" || true) linked"
	./prog
}
build 'at first'
build 'with nothing changed'
sed -i 's/START/START + 1/' f1.c
build 'after one source'
sed -i 's/7/8/' common.h
build 'after the header'
make -s clean
ls | grep -c '\.o$' || true
build 'after clean'
