"""Learn by writing: sixteen exercises, from the ReLU to a U-Net that your own operations train.

`tinyunet learn DIR` makes a folder of exercises and checks what was written there:

- `tinyunet.course.exercises`: the files as a student gets them
- `tinyunet.course.checks`: what is asked of each, and what is said to a wrong answer
- `tinyunet.course.folder`: the student's folder: files, progress, hints
- `tinyunet.course.session`: what is said and done at each call
- `tinyunet.course.finale`: the U-Net that is trained at the end
"""
